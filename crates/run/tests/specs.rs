//! Specs: what is read is what was written, and every mistake is named with key and line.

use std::path::PathBuf;
use std::time::Duration;

use shardpay_run::{
    BackendKind, Cross, Distribution, FaultAction, LinkOptions, Rate, Spec, SpecError, SweepSpec, node_name,
};
use shardpay_types::{CommitteeId, MemberIndex, NodeId};

const GOOD: &str = "name = \"x\"\ncommittees = 2\nnodes_per_committee = 4\nduration_s = 10\n";

fn read(text: &str, overrides: &[&str]) -> Result<Spec, String> {
    let overrides: Vec<String> = overrides.iter().map(ToString::to_string).collect();
    Spec::parse("x.toml", text, &overrides).map_err(|error| error.to_string())
}

fn refused(more: &str, overrides: &[&str]) -> String {
    read(&format!("{GOOD}{more}"), overrides).expect_err("must be refused")
}

#[test]
fn every_experiment_reads_and_writes_back() {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../experiments");
    let mut names = Vec::new();
    let entries = [dir.clone(), dir.join("paper")].map(|dir| std::fs::read_dir(dir).expect("experiments"));
    for entry in entries.into_iter().flatten() {
        let path = entry.expect("entry").path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let sweep = SweepSpec::load(&path, &[]).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(path.file_stem().and_then(|stem| stem.to_str()), Some(sweep.name.as_str()));
        for point in sweep.points {
            assert_eq!(read(&point.spec.to_toml(), &[]), Ok(point.spec.clone()), "{}", point.spec.to_toml());
        }
        names.push(sweep.name);
    }
    for name in ["quickstart", "smoke", "saturation-1x4", "idle", "crash", "committee-outage"] {
        assert!(names.iter().any(|found| found == name), "{name} is missing");
    }
}

#[test]
fn errors_name_key_and_line() {
    let cases = [
        ("speed = 3", "x.toml:5: speed: unknown field"),
        ("warmup_s = 10", "x.toml:5: warmup_s: must be shorter"),
        ("warmup_s = \"long\"", "x.toml:5: warmup_s: invalid type"),
        ("[load]\naccounts = 1", "x.toml:6: load.accounts: must be at least 2 per committee"),
        ("[load]\ncross = 1.5", "x.toml:6: load.cross: must be"),
        ("[load]\ncross = \"wild\"", "x.toml:6: load.cross: invalid value"),
        ("[load.rate]\nkind = \"poisson\"\nper_second = -3", "x.toml:7: load.rate.per_second: must be above 0"),
        ("[load.rate]\nkind = \"poisson\"\nper_secnd = 3", "x.toml:7: load.rate.per_secnd: unknown field"),
        ("[load.rate]\nkind = \"poisson\"", "load.rate: this kind needs the key `per_second`"),
        ("[load.rate]\nkind = \"closed\"\nin_flight = 3\nprobe_s = 1", "the key `probe_s` belongs to another kind"),
        ("durability = \"maybe\"", "x.toml:5: durability: unknown variant"),
        ("[[faults]]\nat_s = 3\naction = \"kill\"\nnodes = \"7-0\"", "x.toml:8: faults.0.nodes: there is no node 7-0"),
        (
            "[[faults]]\nat_s = 3\naction = \"kill\"\nnodes = \"all\"",
            "x.toml:8: faults.0.nodes: \"all\" names no nodes",
        ),
        ("[[faults]]\nat_s = 30\naction = \"kill\"\nnodes = \"0-0\"", "x.toml:6: faults.0.at_s: must lie within"),
        ("[[faults]]\nat_s = 3\naction = \"stop-committee\"\nnodes = \"0-0\"", "faults.0.nodes: must name whole"),
        ("[load]\npayload = 7", "x.toml:6: load.payload: must be 0 (payments) or 8 to 262080 bytes"),
        ("[load]\npayload = 262081", "x.toml:6: load.payload: must be 0"),
        ("[load]\npayload = 512\naccounts = 500", "x.toml:7: load.accounts: belongs to payments"),
        ("[load]\npayload = 512\ncross = 0.1", "x.toml:7: load.cross: belongs to payments"),
        (
            "[load]\npayload = 512\ndistribution = { kind = \"zipf\", exponent = 1.0 }",
            "load.distribution: belongs to payments",
        ),
        (
            "[load]\npayload = 512\nrate = { kind = \"trace\", file = \"x.csv\" }",
            "load.rate.kind: a trace is of payments",
        ),
        (
            "[load]\npayload = 512\n[[faults]]\nat_s = 3\naction = \"kill\"\nnodes = \"0-0\"",
            "faults: a payload is sent once",
        ),
        ("name = \"again\"", "x.toml:5: name: duplicate key"),
        ("[network]\nregions = \"mars\"", "x.toml:6: network.regions: is no matrix that is known; aws-5 is"),
        ("[network]\nregions = [[1.0, 2.0]]", "x.toml:6: network.regions: must be a square matrix"),
        ("[[network.links]]\nfrom = \"0-0\"\nto = \"0-7\"", "x.toml:7: network.links.0.to: there is no node 0-7"),
        ("[[byzantine]]\nnode = \"0-0\"\ntwist = \"fork\"", "takes 2 members, committee 0 has 1"),
    ];
    for (more, expected) in cases {
        let said = refused(more, &[]);
        assert!(said.contains(expected), "{more:?}\n says: {said}\n not: {expected}");
    }
    let fault = |more: &str| refused(&format!("[[faults]]\nat_s = 3\nnodes = \"0-1\"\n{more}"), &[]);
    let cases = [
        ("action = \"throttle\"", "faults.0.cpu_share: throttle needs 0.01 to 64 cores"),
        ("action = \"kill\"\nto = \"0-2\"", "faults.0.to: does not belong to kill"),
        ("action = \"mend\"\ndown_s = 1", "faults.0.down_s: mend has no end"),
        ("action = \"fill-disk\"", "node.disk_mb: fill-disk needs a size"),
        ("action = \"shape\"", "faults.0.link: shape needs it"),
        ("action = \"skew-clock\"\nskew_ms = 86400001", "at most a day"),
    ];
    for (more, expected) in cases {
        let said = fault(more);
        assert!(said.contains(expected), "{more:?}\n says: {said}\n not: {expected}");
    }
    assert!(read("name = \"x\"", &[]).is_err_and(|said| said.contains("missing field `committees`")));
}

/// Every rate but a trace drives opaque payloads.
#[test]
fn payloads_go_with_every_rate_but_a_trace() {
    let rates = [
        "{ kind = \"constant\", per_second = 5 }",
        "{ kind = \"poisson\", per_second = 5 }",
        "{ kind = \"ramp\", from_per_second = 5, to_per_second = 9 }",
        "{ kind = \"steps\", steps_per_second = [5, 9] }",
        "{ kind = \"closed\", in_flight = 5 }",
        "{ kind = \"fraction\", of_closed_loop = 0.5 }",
        "{ kind = \"daily\", per_second = 5 }",
    ];
    for rate in rates {
        let spec = read(&format!("{GOOD}[load]\npayload = 512\nrate = {rate}"), &[]).expect(rate);
        assert_eq!(spec.load.payload, 512);
        assert_eq!(read(&spec.to_toml(), &[]), Ok(spec));
    }
    assert_eq!(read(GOOD, &[]).expect("payments").load.payload, 0);
}

#[test]
fn overrides_win_and_are_named_when_wrong() {
    let more = format!("{GOOD}[load.rate]\nkind = \"poisson\"\nper_second = 100\n");
    let spec =
        read(&more, &["load.rate.per_second=250.5", "name = other", "load.distribution={kind=\"zipf\",exponent=1.1}"]);
    let spec = spec.expect("good overrides");
    assert_eq!(spec.load.rate, Rate::Poisson { per_second: 250.5 });
    assert_eq!((spec.name.as_str(), &spec.load.distribution), ("other", &Distribution::Zipf { exponent: 1.1 }));
    let cases = [
        ("nodes_per_committee=3", "--set nodes_per_committee=3: nodes_per_committee: must be 1"),
        ("load.spd=3", "--set load.spd=3: load.spd: unknown field"),
        ("name.x=3", "--set name.x=3: name.x: only tables"),
        ("name", "--set name: write key=value"),
    ];
    for (given, expected) in cases {
        let said = refused("", &[given]);
        assert!(said.starts_with(expected), "{said}");
    }
}

#[test]
fn a_timeline_repeats_with_other_members_and_ends() {
    let more =
        "[[faults]]\nat_s = 1\naction = \"kill\"\nnodes = \"*-f\"\ndown_s = 1\nrepeat = { every_s = 3, times = 2 }\n";
    let spec = read(&format!("{GOOD}{more}"), &[]).expect("a good spec");
    let told: Vec<_> = spec
        .timeline()
        .into_iter()
        .map(|fault| {
            (fault.at.as_secs(), fault.action, fault.nodes.into_iter().map(node_name).collect::<Vec<_>>().join(" "))
        })
        .collect();
    let expected = [
        (1, FaultAction::Kill, "0-0 1-0"),
        (2, FaultAction::Restart, "0-0 1-0"),
        (4, FaultAction::Kill, "0-1 1-1"),
        (5, FaultAction::Restart, "0-1 1-1"),
    ];
    assert_eq!(told, expected.map(|(at, action, nodes)| (at, action, nodes.to_owned())));
    assert_eq!(spec.fault_window(), Some((Duration::from_secs(1), Duration::from_secs(5))));
    assert_eq!((spec.load.cross, spec.cross_ratio()), (Cross::Natural, 0.5));
}

#[test]
fn a_fault_that_a_back_end_cannot_do_is_refused_with_what_it_can() {
    let text = format!("{GOOD}[[faults]]\nat_s = 3\naction = \"disconnect\"\nnodes = \"0-1,3\"\ndown_s = 2");
    let refusal = Spec::parse("x.toml", &text, &[]).expect_err("local processes share a network");
    let SpecError::Unsupported { unsupported, .. } = &refusal else { panic!("{refusal}") };
    assert_eq!((unsupported.action, unsupported.backend), (FaultAction::Disconnect, BackendKind::Local));
    let said = refusal.to_string();
    assert!(said.starts_with("x.toml:7: faults.0.action: the back end local cannot disconnect"), "{said}");
    let spec = Spec::parse("x.toml", &text, &["backend=docker".to_owned()]).expect("containers have networks");
    let told: Vec<_> = spec.timeline().into_iter().map(|fault| (fault.action, fault.nodes.len())).collect();
    assert_eq!(told, [(FaultAction::Disconnect, 2), (FaultAction::Connect, 2)]);
    assert_eq!(spec.faults[0].nodes.to_string(), "0-1,3");
}

#[test]
fn a_load_of_one_committee_is_multiplied_once() {
    let more =
        "[load]\nper_committee = true\naccounts = 50\nrate = { kind = \"steps\", steps_per_second = [10.0, 30.0] }\n";
    let spec = read(&format!("{GOOD}{more}"), &[]).expect("a good spec");
    assert_eq!((spec.load.accounts, &spec.load.rate), (100, &Rate::Steps { steps_per_second: vec![20.0, 60.0] }));
    assert_eq!(read(&spec.to_toml(), &[]).as_ref(), Ok(&spec), "what is written back is the whole system's");
    let sweep = SweepSpec::parse("x.toml", &format!("{GOOD}{more}[grid]\ncommittees = [1, 3]\n"), &[]).expect("points");
    let accounts: Vec<usize> = sweep.points.iter().map(|point| point.spec.load.accounts).collect();
    assert_eq!(accounts, [50, 150]);
}

#[test]
fn regions_and_links_shape_what_nodes_send() {
    let more =
        "[network]\nregions = \"aws-5\"\njitter = 0.1\n[[network.links]]\nfrom = \"0-3\"\nto = \"0-0\"\nloss = 1.0\n";
    let spec = read(&format!("{GOOD}{more}"), &[]).expect("a good spec");
    assert_eq!(read(&spec.to_toml(), &[]).as_ref(), Ok(&spec), "{}", spec.to_toml());
    let node = |committee, member| NodeId { committee: CommitteeId::at(committee), member: MemberIndex::at(member) };
    let link = spec.link(node(0, 0), node(1, 3));
    assert_eq!((link.latency_ms, link.loss), (72.5, 0.0), "half of Virginia to Tokyo and back");
    assert!((link.jitter_ms - 7.25).abs() < 1e-9);
    assert_eq!(spec.link(node(0, 3), node(0, 0)), LinkOptions::CUT);
    assert_eq!(spec.link(node(0, 0), node(0, 3)).loss, 0.0, "one way only");
}
