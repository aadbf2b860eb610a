//! A finished run on the same pages: its moments, its alarms as they were, its task events up to a moment.

mod common;

use std::fs;

use common::feed::Feed;
use common::{Demo, alarmed};
use shardpay_types::Timestamp;

const START_S: u64 = 1_700_000_000;
const SECONDS: u64 = 20;
/// Node 1-2 is silent from this second to the other.
const SILENT: std::ops::Range<u64> = 8..14;

#[tokio::test]
async fn a_finished_run_is_shown_as_it_was() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut feed = Feed::new(2, 4);
    let mut files = vec![Vec::new(); 9];
    for second in 0..SECONDS {
        let lines = feed.next(Timestamp::from_micros((START_S + second) * 1_000_000 + 900_000));
        for (server, (file, lines)) in files.iter_mut().zip(lines).enumerate() {
            if server != 6 || !SILENT.contains(&second) {
                file.extend(lines);
            }
        }
    }
    for (server, file) in files.iter().enumerate() {
        let place = dir.path().join(format!("nodes/{server}"));
        fs::create_dir_all(&place).expect("ours");
        fs::write(place.join("series.lp"), file).expect("ours");
    }
    let demo = Demo::start(&["--replay", dir.path().to_str().expect("text")], &[]).await;

    let mode = demo.get("/api/mode").await;
    let (from, to) = (mode["replay"]["from"].as_f64().expect("a time"), mode["replay"]["to"].as_f64().expect("a time"));
    assert_eq!((from, to), (START_S as f64, (START_S + SECONDS) as f64));
    let rows = demo.get("/api/history").await;
    assert_eq!(rows.as_array().map(Vec::len), Some(SECONDS as usize));

    let moment = async |second: u64| demo.get(&format!("/api/frame?at={}", START_S + second)).await;
    for (second, down) in [(7, false), (13, true), (18, false)] {
        let frame = moment(second).await;
        assert_eq!(alarmed(&frame, "silent", "Node 1-2 is down"), down, "second {second}: {}", frame["alarms"]);
        assert_eq!(frame["overview"]["nodes_up"], 8 - u32::from(down));
        assert!(frame["committees"][0]["certified"].as_f64().is_some_and(|rate| rate > 50.0));
    }
    let task = &moment(6).await["nodes"][0]["task"];
    let later = &moment(16).await["nodes"][0]["task"];
    assert!(task.as_str().is_some_and(|task| task.starts_with("executing block")) && task != later, "{task}, {later}");
    let events = demo.get(&format!("/api/events?limit=5&until={}", START_S + 5)).await;
    let times = events["events"].as_array().expect("events").iter().map(|event| event[1].as_f64().expect("a time"));
    assert!(
        times.clone().count() == 5 && times.clone().is_sorted() && times.clone().all(|at| at < (START_S + 5) as f64)
    );
    let detail = demo.get(&format!("/api/node?name=1-2&at={}", START_S + 18)).await;
    assert!(
        detail["charts"][0]["lines"][0]["values"]
            .as_array()
            .is_some_and(|values| values.contains(&serde_json::Value::Null))
    );

    let write = demo.write("a b=1i").send().await.expect("an answer");
    assert_eq!(write.status(), 404, "nothing is written into a finished run");
}
