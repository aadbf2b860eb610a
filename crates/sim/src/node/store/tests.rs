use super::*;

fn vote(height: u64) -> Record {
    Record::HeaderVote { height: Height::new(height), header: HeaderHash([height as u8; 32]) }
}

fn batch(tip: u8) -> StateBatch {
    StateBatch { tip: Some(vec![tip]), ..StateBatch::default() }
}

fn tip(disk: &Disk) -> Option<u8> {
    disk.store.tip().expect("memory does not fail").map(|tip| tip[0])
}

#[test]
fn a_sync_covers_what_was_written_before_it_began() {
    let mut disk = Disk::new(true);
    disk.write(PersistId(1), vote(1), false);
    disk.write(PersistId(2), vote(2), false);
    disk.start_sync(false);
    disk.write(PersistId(3), vote(3), false);
    assert_eq!(disk.end_sync(), Some(PersistId(2)));
    assert!(disk.wants_sync());
    assert_eq!(disk.recovered(Epoch::ZERO).votes.len(), 2);
}

#[test]
fn a_crash_keeps_the_synced_and_a_prefix_of_the_rest() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..200 {
        let mut stream = Stream::new(seed, "crash", 0);
        let mut disk = Disk::new(true);
        disk.write(PersistId(1), vote(1), false);
        disk.store.write(batch(1)).expect("memory");
        disk.start_sync(false);
        disk.end_sync();
        disk.write(PersistId(2), vote(2), false);
        disk.store.write(batch(2)).expect("memory");
        disk.write(PersistId(3), vote(3), false);
        disk.store.write(batch(3)).expect("memory");
        assert_eq!(tip(&disk), Some(3));
        disk.crash(&mut stream, false);
        let votes: Vec<_> = disk.recovered(Epoch::ZERO).votes.iter().map(|(height, _)| height.get()).collect();
        assert_eq!(votes, (1..=votes.len() as u64).collect::<Vec<_>>());
        let tip = tip(&disk).expect("synced");
        assert!(u64::from(tip) <= votes.len() as u64, "a batch outran the records before it");
        seen.insert((votes.len(), tip));
    }
    assert_eq!(seen, [(1, 1), (2, 1), (2, 2), (3, 1), (3, 2), (3, 3)].into());
}

#[test]
fn lagging_batches_wait_for_a_later_sync() {
    let mut disk = Disk::new(true);
    disk.store.write(batch(1)).expect("memory");
    assert!(disk.wants_sync());
    disk.start_sync(true);
    assert_eq!(disk.end_sync(), None);
    assert_eq!(disk.store.pending(), 1);
    disk.start_sync(false);
    disk.end_sync();
    assert_eq!(disk.store.pending(), 0);
}
