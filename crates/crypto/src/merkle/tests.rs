//! The log, its proofs and their checks against the recursive definitions of RFC 9162 §2.1.

use proptest::prelude::*;
use shardpay_types::{Codec, ConsistencyProof, List, MerklePath};

use super::*;

/// All sizes up to this one are tried; it is two past a power of two.
const SIZES: u64 = 130;

fn leaves(count: u64) -> Vec<Hash> {
    (0..count).map(|n| leaf_hash(&n.to_le_bytes())).collect()
}

fn log_of(leaves: &[Hash]) -> MerkleLog {
    let mut log = MerkleLog::new();
    leaves.iter().for_each(|leaf| log.append(*leaf));
    log
}

/// The largest power of two below `count`, by counting up.
fn naive_split(count: usize) -> usize {
    let mut k = 1;
    while 2 * k < count {
        k *= 2;
    }
    k
}

/// MTH of §2.1.1, over leaf hashes.
fn naive_root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Hash(sha256(&[])),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(naive_split(leaves.len()));
            Hash(sha256(&[&[1], &naive_root(left).0, &naive_root(right).0]))
        }
    }
}

/// PATH of §2.1.3.1.
fn naive_path(index: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() == 1 {
        return Vec::new();
    }
    let k = naive_split(leaves.len());
    let (left, right) = leaves.split_at(k);
    let (mut path, sibling) =
        if index < k { (naive_path(index, left), right) } else { (naive_path(index - k, right), left) };
    path.push(naive_root(sibling));
    path
}

/// SUBPROOF of §2.1.4.1.
fn naive_subproof(old: usize, leaves: &[Hash], whole: bool) -> Vec<Hash> {
    if old == leaves.len() {
        return if whole { Vec::new() } else { vec![naive_root(leaves)] };
    }
    let k = naive_split(leaves.len());
    let (left, right) = leaves.split_at(k);
    let (mut proof, sibling) = if old <= k {
        (naive_subproof(old, left, whole), right)
    } else {
        (naive_subproof(old - k, right, false), left)
    };
    proof.push(naive_root(sibling));
    proof
}

fn consistency(hashes: Vec<Hash>) -> ConsistencyProof {
    ConsistencyProof { hashes: List::bounded(hashes) }
}

fn path(index: u64, count: u64, siblings: Vec<Hash>) -> MerklePath {
    MerklePath { index, count, siblings: List::bounded(siblings) }
}

#[test]
fn the_empty_root_is_the_hash_of_nothing() {
    assert_eq!(EMPTY_ROOT, Hash(sha256(&[])));
    assert_eq!(MerkleLog::new().root(), EMPTY_ROOT);
    assert_eq!(Frontier::new().root(), EMPTY_ROOT);
    assert_eq!(root(&[]), EMPTY_ROOT);
}

/// The published test vectors of the certificate-transparency code: eight inputs, root of all.
#[test]
fn published_root_of_eight() {
    let inputs: [&[u8]; 8] = [
        b"",
        b"\x00",
        b"\x10",
        b"\x20\x21",
        b"\x30\x31",
        b"\x40\x41\x42\x43",
        b"\x50\x51\x52\x53\x54\x55\x56\x57",
        b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
    ];
    let leaves: Vec<Hash> = inputs.iter().map(|input| leaf_hash(input)).collect();
    assert_eq!(root(&leaves).to_string(), "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328");
}

#[test]
fn roots_and_frontiers_of_every_size() {
    let leaves = leaves(SIZES);
    let log = log_of(&leaves);
    let mut frontier = Frontier::new();
    for count in 0..=SIZES {
        let expected = naive_root(&leaves[..count as usize]);
        assert_eq!(log.root_at(count), Some(expected));
        assert_eq!(root(&leaves[..count as usize]), expected);
        assert_eq!(frontier.root(), expected);
        assert_eq!(log.frontier_at(count).as_ref(), Some(&frontier));
        assert_eq!(Frontier::from_bytes(&frontier.to_bytes()), Ok(frontier.clone()));
        if count < SIZES {
            frontier.append(leaves[count as usize]);
        }
    }
    assert_eq!(log.root_at(SIZES + 1), None);
}

#[test]
fn inclusion_of_every_leaf_at_every_size() {
    let leaves = leaves(SIZES);
    let log = log_of(&leaves);
    for count in 1..=SIZES {
        let root = log.root_at(count).expect("within the log");
        for index in 0..count {
            let path = log.inclusion(index, count).expect("within the log");
            assert_eq!(path.siblings.to_vec(), naive_path(index as usize, &leaves[..count as usize]));
            assert!(verify_inclusion(&root, &leaves[index as usize], &path));
        }
        assert_eq!(log.inclusion(count, count), None);
    }
    assert_eq!(log.inclusion(0, SIZES + 1), None);
}

#[test]
fn consistency_of_every_pair_of_sizes() {
    let leaves = leaves(SIZES);
    let log = log_of(&leaves);
    for new in 0..=SIZES {
        let new_root = log.root_at(new).expect("within the log");
        for old in 0..=new {
            let old_root = log.root_at(old).expect("within the log");
            let proof = log.consistency(old, new).expect("within the log");
            if old > 0 {
                assert_eq!(proof.hashes.to_vec(), naive_subproof(old as usize, &leaves[..new as usize], true));
            }
            assert!(verify_consistency(old, &old_root, new, &new_root, &proof), "{old} → {new}");
        }
        assert_eq!(log.consistency(new + 1, new), None);
    }
    assert_eq!(log.consistency(1, SIZES + 1), None);
}

#[test]
fn pruned_logs_prove_what_they_promise_and_stay_small() {
    let leaves = leaves(SIZES);
    let full = log_of(&leaves);
    for cut in 0..=SIZES {
        let mut restored = MerkleLog::from_frontier(&full.frontier_at(cut).expect("within the log"));
        leaves[cut as usize..].iter().for_each(|leaf| restored.append(*leaf));
        let mut pruned = full.clone();
        pruned.prune_below(cut);
        pruned.prune_below(cut / 2);
        for log in [&pruned, &restored] {
            assert_eq!((log.first_provable(), log.count()), (cut, SIZES));
            assert_eq!(log.frontier(), full.frontier());
            for count in cut..=SIZES {
                assert_eq!(log.root_at(count), full.root_at(count));
                assert_eq!(log.consistency(cut, count), full.consistency(cut, count));
                assert_eq!(log.consistency(count, SIZES), full.consistency(count, SIZES));
                if count < SIZES {
                    assert_eq!(log.leaf(count), full.leaf(count));
                    assert_eq!(log.inclusion(count, SIZES), full.inclusion(count, SIZES));
                    assert_eq!(log.inclusion(cut, count + 1), full.inclusion(cut, count + 1));
                }
            }
            assert!(cut == 0 || log.inclusion(cut - 1, SIZES).is_none());
            assert!(log.kept() as u64 <= 2 * (SIZES - cut) + 2 * 8);
        }
        assert_eq!(pruned.kept(), restored.kept());
    }
}

#[test]
fn a_log_pruned_as_it_grows_keeps_its_root() {
    let leaves = leaves(2_000);
    let mut log = MerkleLog::new();
    let mut frontier = Frontier::new();
    for (n, leaf) in leaves.iter().enumerate() {
        log.append(*leaf);
        frontier.append(*leaf);
        log.prune_below((n as u64 + 1).saturating_sub(10));
        assert!(log.kept() < 60);
        assert_eq!(log.root(), frontier.root());
    }
    log.prune_below(u64::MAX);
    assert_eq!((log.first_provable(), log.root()), (2_000, frontier.root()));
}

#[test]
fn frontiers_off_the_wire_are_checked() {
    assert!(Frontier::from_bytes(&u64::MAX.to_le_bytes()).is_err());
    assert!(Frontier::from_bytes(&3u64.to_le_bytes()).is_err());
    let mut bytes = log_of(&leaves(3)).frontier().to_bytes();
    bytes.push(0);
    assert!(Frontier::from_bytes(&bytes).is_err());
}

#[test]
fn hostile_numbers_end_in_a_refusal() {
    let hash = leaf_hash(b"x");
    let interesting = [0, 1, 2, 3, 1 << 31, 1 << 32, (1 << 62) + 1, 1 << 63, (1 << 63) + 1, u64::MAX - 1, u64::MAX];
    for a in interesting {
        for b in interesting {
            for len in [0, 1, 2, 62, 63, 64] {
                if (a, b, len) != (0, 1, 0) {
                    assert!(!verify_inclusion(&hash, &hash, &path(a, b, vec![hash; len])));
                }
                let proof = consistency(vec![hash; len]);
                let same = a == b && a > 0 && len == 0;
                assert_eq!(verify_consistency(a, &hash, b, &hash, &proof), same, "{a} {b} {len}");
                assert!(!verify_consistency(a, &hash, b, &EMPTY_ROOT, &proof), "{a} {b} {len}");
            }
            assert!(!verify_consistency(a, &hash, b, &leaf_hash(b"y"), &consistency(vec![hash; 130])));
        }
    }
}

#[test]
fn a_node_is_no_leaf() {
    let leaves = leaves(4);
    let log = log_of(&leaves);
    let inner = node_hash(&leaves[0], &leaves[1]);
    let right = node_hash(&leaves[2], &leaves[3]);
    // In a tree of two leaves that path would do; the count of four refuses it.
    assert!(!verify_inclusion(&log.root(), &inner, &path(0, 4, vec![right])));
    assert!(verify_inclusion(&log.root(), &inner, &path(0, 2, vec![right])), "why callers compare counts");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn big_logs_agree_with_the_definition(count in 1u64..3_000, a in any::<u64>(), b in any::<u64>()) {
        let leaves = leaves(count);
        let log = log_of(&leaves);
        let (old, new) = ((a % (count + 1)).min(b % (count + 1)), (a % (count + 1)).max(b % (count + 1)));
        let (old_root, new_root) = (naive_root(&leaves[..old as usize]), naive_root(&leaves[..new as usize]));
        prop_assert_eq!(log.root_at(new), Some(new_root));
        let proof = log.consistency(old, new).expect("within the log");
        prop_assert!(verify_consistency(old, &old_root, new, &new_root, &proof));
        if old < new {
            let path = log.inclusion(old, new).expect("within the log");
            prop_assert_eq!(path.siblings.to_vec(), naive_path(old as usize, &leaves[..new as usize]));
            prop_assert!(verify_inclusion(&new_root, &leaves[old as usize], &path));
        }
    }

    #[test]
    fn mutated_paths_are_refused(count in 2u64..400, index in any::<u64>(), at in any::<usize>(), bit in 0usize..256) {
        let leaves = leaves(count);
        let log = log_of(&leaves);
        let (root, index) = (log.root(), index % count);
        let leaf = leaves[index as usize];
        let good = log.inclusion(index, count).expect("within the log");
        let siblings = good.siblings.to_vec();
        let refused = |path: &MerklePath| !verify_inclusion(&root, &leaf, path);

        let mut flipped = siblings.clone();
        flipped[at % siblings.len()].0[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(refused(&path(index, count, flipped)));
        prop_assert!(refused(&path(index, count, siblings[1..].to_vec())));
        prop_assert!(refused(&path(index, count, siblings[..siblings.len() - 1].to_vec())));
        prop_assert!(refused(&path(index, count, [siblings.clone(), vec![leaf]].concat())));
        for wrong in (0..count).filter(|wrong| *wrong != index) {
            prop_assert!(refused(&path(wrong, count, siblings.clone())));
        }
        let mut other = root;
        other.0[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(!verify_inclusion(&other, &leaf, &good));
        prop_assert!(!verify_inclusion(&root, &other, &good));
    }

    #[test]
    fn mutated_consistency_is_refused(new in 2u64..400, old in any::<u64>(), at in any::<usize>(), bit in 0usize..256) {
        let log = log_of(&leaves(new));
        let old = 1 + old % (new - 1);
        let (old_root, new_root) = (log.root_at(old).expect("within the log"), log.root());
        let hashes = log.consistency(old, new).expect("within the log").hashes.to_vec();
        let refused = |old_root: &Hash, new_root: &Hash, hashes: Vec<Hash>| {
            !verify_consistency(old, old_root, new, new_root, &consistency(hashes))
        };

        let mut flipped = hashes.clone();
        flipped[at % hashes.len()].0[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(refused(&old_root, &new_root, flipped));
        prop_assert!(refused(&old_root, &new_root, hashes[1..].to_vec()));
        prop_assert!(refused(&old_root, &new_root, hashes[..hashes.len() - 1].to_vec()));
        prop_assert!(refused(&old_root, &new_root, [hashes.clone(), vec![old_root]].concat()));
        let mut other = old_root;
        other.0[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(refused(&other, &new_root, hashes.clone()));
        let mut other = new_root;
        other.0[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(refused(&old_root, &other, hashes));
    }
}
