//! Random DAGs with up to f equivocators, delivered to several members in random orders: all hand out what a
//! naive evaluation of the definitions gives for the blocks they accepted, and no two differ.

mod common;

use common::naive::{Naive, NaiveCommit};
use common::{Builder, Chance, Observer, faults_and_quorum};
use proptest::prelude::*;
use shardpay_consensus::Start;
use shardpay_types::BlockRef;

/// Shape of a random DAG.
#[derive(Debug, Clone)]
struct Shape {
    members: usize,
    rounds: u64,
    seed: u64,
    equivocators: usize,
    /// Percent of the blocks of the round before, beyond a quorum, that a block stands on.
    density: usize,
    gc_depth: u64,
}

/// Random blocks: honest authors make one per round and sometimes none; the first `equivocators` authors
/// make two now and then, and their successors stand on either.
fn build(shape: &Shape) -> Builder {
    let mut chance = Chance(shape.seed);
    let mut builder = Builder::new(shape.members);
    let (faults, quorum) = faults_and_quorum(shape.members);
    // Per author the blocks it may build on: its newest, or both twins.
    let mut newest: Vec<Vec<BlockRef>> = (0..shape.members).map(|author| vec![builder.genesis(author)]).collect();
    for number in 1..=shape.rounds {
        let before: Vec<usize> =
            (0..shape.members).filter(|author| newest[*author][0].round.get() == number - 1).collect();
        let mut asleep = if number > 1 { chance.below(faults + 1) } else { 0 };
        let mut made = newest.clone();
        for author in 0..shape.members {
            let own_before = newest[author][0].round.get() == number - 1;
            if asleep > 0 && chance.percent(30) || number > 1 && !own_before && before.len() < quorum {
                asleep = asleep.saturating_sub(1);
                continue;
            }
            let twins = 1 + usize::from(author < shape.equivocators && chance.percent(60));
            made[author] = (0..twins)
                .map(|twin| {
                    let parents = choose(&mut chance, shape, (author, number), (&before, &newest));
                    let payload = if twin > 0 { common::payload(number) } else { Default::default() };
                    builder.block_with(author, number, &parents, payload)
                })
                .collect();
        }
        newest = made;
        let here = newest.iter().filter(|blocks| blocks[0].round.get() == number).count();
        if here < quorum {
            break;
        }
    }
    builder
}

/// Own newest, a quorum of the round before and some more.
fn choose(
    chance: &mut Chance,
    shape: &Shape,
    (author, number): (usize, u64),
    (before, newest): (&[usize], &[Vec<BlockRef>]),
) -> Vec<BlockRef> {
    let (_, quorum) = faults_and_quorum(shape.members);
    let mut pool: Vec<usize> = before.iter().copied().filter(|other| *other != author).collect();
    chance.shuffle(&mut pool);
    let own_counts = usize::from(before.contains(&author));
    let (needed, rest) = pool.split_at(pool.len().min(quorum - own_counts));
    let mut authors: Vec<usize> = needed.to_vec();
    authors.extend(rest.iter().filter(|_| chance.percent(shape.density)));
    // Older blocks of authors that paused.
    let paused = (0..shape.members).filter(|other| !before.contains(other) && *other != author);
    authors.extend(paused.filter(|other| number > 1 && newest[*other][0].round.get() > 0 && chance.percent(50)));
    let mut parents: Vec<BlockRef> =
        authors.iter().map(|other| newest[*other][chance.below(newest[*other].len())]).collect();
    parents.push(newest[author][chance.below(newest[author].len())]);
    parents
}

fn commits(observer: &Observer) -> Vec<NaiveCommit> {
    let blocks = |commit: &shardpay_crypto::Commit| commit.blocks.iter().map(|block| block.reference()).collect();
    observer.commits.iter().map(|commit| (commit.anchor, blocks(commit))).collect()
}

fn check(shape: &Shape) -> usize {
    let builder = build(shape);
    let mut results: Vec<Vec<NaiveCommit>> = Vec::new();
    for own in 0..3 {
        let mut order: Vec<usize> = (0..builder.blocks.len()).collect();
        let mut chance = Chance(shape.seed ^ (own as u64 + 1));
        match own {
            0 => {}
            // Mostly in order, with neighbours exchanged; or wholly at random.
            1 => order.chunks_mut(3 * shape.members).for_each(|chunk| chance.shuffle(chunk)),
            _ => chance.shuffle(&mut order),
        }
        let mut config = builder.config(shape.members - 1 - own);
        config.gc_depth = shape.gc_depth;
        let mut observer = Observer::start(config, Start::NewEpoch);
        observer.feed_in(&builder, &order);
        // What was too far ahead then is shown again.
        observer.feed(&builder);
        let status = observer.status();
        assert_eq!((status.waiting_blocks, status.missing), (0, 0), "{shape:?}: everything was delivered");
        let naive = Naive::new(shape.members, &observer.persisted);
        let own = commits(&observer);
        assert_eq!(own, naive.commits(shape.gc_depth), "{shape:?}: not what the definitions give");
        results.push(own);
    }
    for pair in results.windows(2) {
        let common = pair[0].len().min(pair[1].len());
        assert_eq!(pair[0][..common], pair[1][..common], "{shape:?}: two members differ");
    }
    results[0].len()
}

fn shape(members: std::ops::RangeInclusive<usize>, rounds: u64, gc_depth: u64) -> impl Strategy<Value = Shape> {
    (members, any::<u64>(), 0..=100usize, 0..=100usize).prop_map(move |(members, seed, share, density)| {
        let (faults, _) = faults_and_quorum(members);
        Shape { members, rounds, seed, equivocators: (faults * share).div_ceil(100), density, gc_depth }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 250, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn a_short_gc_depth(shape in shape(4..=7, 50, 8)) {
        check(&shape);
    }

    #[test]
    fn small_committees(shape in shape(4..=7, 24, 60)) {
        check(&shape);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 30, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn middle_committees(shape in shape(8..=16, 14, 60)) {
        check(&shape);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn large_committees(shape in shape(17..=64, 8, 60)) {
        check(&shape);
    }
}

#[test]
fn the_random_dags_commit_skip_and_decide_indirectly() {
    // Not vacuous: over a few seeds, every kind of decision occurs.
    let mut seen = [0u64; 5];
    for seed in 0..40 {
        let shape =
            Shape { members: 4, rounds: 24, seed, equivocators: 1, density: (seed as usize * 37) % 100, gc_depth: 60 };
        let builder = build(&shape);
        let mut observer = Observer::new(&builder, 3);
        observer.feed(&builder);
        let status = observer.status();
        let twins = observer.others.iter().filter(|o| matches!(o, shardpay_consensus::Output::Equivocation(_))).count();
        let counts =
            [status.direct_commits, status.direct_skips, status.indirect_commits, status.indirect_skips, twins as u64];
        seen.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
    }
    assert!(seen.iter().all(|count| *count > 3), "{seen:?}");
}
