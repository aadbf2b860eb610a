//! Traces: payments read from a CSV file (`time,payer,payee,amount`) and replayed, at their own pace or another.
//!
//! Guarantees: names become account numbers in the order in which they first appear by time (the payer's before the
//! payee's), so the same file gives the same payments; a file with a bad line is refused as a whole, and each bad line
//! is named. Times are seconds, from the earliest one on; lines of one time keep their order.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use shardpay_crypto::sha256;
use shardpay_keystore::parse_amount;
use shardpay_run::write_whole;
use shardpay_types::Amount;

const HEADER: [&str; 4] = ["time", "payer", "payee", "amount"];
/// Bad lines that are shown.
const SHOWN: usize = 10;
/// Payments that a trace can have: they are kept in memory.
const PAYMENTS_MAX: usize = 50_000_000;

/// A payment of a trace.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TracePayment {
    /// Seconds from the load's beginning.
    pub at_s: f64,
    /// Number of the paying account.
    pub payer: u32,
    /// Number of the paid one.
    pub payee: u32,
    /// How much.
    pub amount: Amount,
}

/// A trace, in the order of its times.
#[derive(Debug, Clone, PartialEq)]
pub struct Trace {
    /// The payments.
    pub payments: Vec<TracePayment>,
    /// Accounts that it names.
    pub accounts: usize,
    /// The file's SHA-256, hexadecimal.
    pub sha256: String,
    /// The file.
    text: String,
}

/// A line as it stands there.
struct Line<'a> {
    at_s: f64,
    payer: &'a str,
    payee: &'a str,
    amount: Amount,
}

impl Trace {
    /// Reads a file. `speed` of 2 replays it in half its time; no payment may be below `least`.
    pub fn load(path: &Path, speed: f64, least: Amount) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("load.rate.file {}", path.display()))?;
        Self::parse(&path.display().to_string(), text, speed, least)
    }

    /// The same from a text; `origin` names it in errors.
    pub fn parse(origin: &str, text: String, speed: f64, least: Amount) -> Result<Self> {
        let mut lines = text.lines().enumerate();
        let header: Vec<&str> = lines.next().map_or("", |(_, line)| line).split(',').map(str::trim).collect();
        if header != HEADER {
            bail!("{origin}:1: the first line must be {}", HEADER.join(","));
        }
        let (mut read, mut bad) = (Vec::new(), Vec::new());
        for (index, line) in lines.filter(|(_, line)| !line.trim().is_empty()) {
            match line_of(line, least) {
                Ok(line) => read.push(line),
                Err(why) => bad.push(format!("{origin}:{}: {why}", index + 1)),
            }
        }
        if !bad.is_empty() {
            let more = bad.len().saturating_sub(SHOWN);
            bad.truncate(SHOWN);
            let more = if more > 0 { format!("\nand {more} more") } else { String::new() };
            bail!("{}{more}", bad.join("\n"));
        }
        if read.is_empty() || read.len() > PAYMENTS_MAX {
            bail!("{origin}: {} payments; 1 to {PAYMENTS_MAX} are meant", read.len());
        }
        read.sort_by(|a, b| a.at_s.total_cmp(&b.at_s));
        let first = read[0].at_s;
        let mut numbers = HashMap::new();
        let mut number = |name| {
            let next = u32::try_from(numbers.len()).expect("fewer names than twice the payments");
            *numbers.entry(name).or_insert(next)
        };
        let payments = read.iter().map(|line| TracePayment {
            at_s: (line.at_s - first) / speed,
            payer: number(line.payer),
            payee: number(line.payee),
            amount: line.amount,
        });
        let payments = payments.collect();
        let (accounts, sha256) = (numbers.len(), hex::encode(sha256(&[text.as_bytes()])));
        Ok(Self { payments, accounts, sha256, text })
    }

    /// The payments that one process sends: those of its own accounts.
    pub fn part(&self, (process, processes): (usize, usize)) -> Vec<TracePayment> {
        let own = |payment: &&TracePayment| payment.payer as usize % processes == process;
        self.payments.iter().filter(own).copied().collect()
    }

    /// The most that one account pays in all: what each is to be funded with.
    pub fn paid_most(&self) -> Amount {
        let mut paid: HashMap<u32, u64> = HashMap::new();
        for payment in &self.payments {
            let sum = paid.entry(payment.payer).or_default();
            *sum = sum.saturating_add(payment.amount.micros());
        }
        Amount::from_micros(paid.into_values().max().unwrap_or(0))
    }

    /// Keeps a copy and its hash in a run directory, so that the run can be repeated.
    pub fn keep(&self, dir: &Path) -> Result<()> {
        write_whole(&dir.join("trace.csv"), self.text.as_bytes())?;
        Ok(write_whole(&dir.join("trace.sha256"), format!("{}  trace.csv\n", self.sha256).as_bytes())?)
    }
}

fn line_of(line: &str, least: Amount) -> Result<Line<'_>, String> {
    let fields: Vec<&str> = line.split(',').map(str::trim).collect();
    let [time, payer, payee, amount] = fields[..] else {
        return Err(format!("{} fields; time, payer, payee and amount are meant", fields.len()));
    };
    let seconds = time.parse::<f64>().ok().filter(|seconds| seconds.is_finite() && *seconds >= 0.0);
    let at_s = seconds.ok_or_else(|| format!("time {time:?}: seconds are meant, 0 or more"))?;
    if payer.is_empty() || payee.is_empty() {
        return Err("payer and payee need names".to_owned());
    }
    if payer == payee {
        return Err(format!("{payer:?} pays itself"));
    }
    let parsed = parse_amount(amount).map_err(|error| format!("amount {amount:?}: {error}"))?;
    if parsed < least {
        return Err(format!("amount {amount}: the ledger takes {least} and more"));
    }
    Ok(Line { at_s, payer, payee, amount: parsed })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LEAST: Amount = Amount::from_micros(1_000);

    fn parse(rest: &str, speed: f64) -> Result<Trace> {
        Trace::parse("t.csv", format!("time,payer,payee,amount\n{rest}"), speed, LEAST)
    }

    #[test]
    fn a_trace_is_sorted_mapped_and_sped_up() {
        let trace = parse("12,ann,shop,4.50\n10,bob,ann,1\n\n14,ann,bob,0.001\n", 2.0).unwrap();
        let shown: Vec<_> = trace.payments.iter().map(|p| (p.at_s, p.payer, p.payee, p.amount.micros())).collect();
        assert_eq!(shown, [(0.0, 0, 1, 1_000_000), (1.0, 1, 2, 4_500_000), (2.0, 1, 0, 1_000)]);
        assert_eq!((trace.accounts, trace.paid_most().micros()), (3, 4_501_000));
        assert_eq!(trace.part((1, 2)).len(), 2, "ann is account 1");
    }

    #[test]
    fn every_bad_line_is_named() {
        let error = parse("1,a,b,1\nsoon,a,b,1\n2,a,b\n3,a,a,1\n4,,b,1\n5,a,b,1e3\n6,a,b,0.0001\n-1,a,b,1", 1.0);
        let error = error.unwrap_err().to_string();
        let lines: Vec<&str> = error.lines().map(|line| line.split(": ").next().unwrap()).collect();
        let expected: Vec<String> = (3..=9).map(|line| format!("t.csv:{line}")).collect();
        assert_eq!(lines, expected, "{error}");
        let header = Trace::parse("t.csv", "when,who\n".to_owned(), 1.0, LEAST).unwrap_err().to_string();
        assert!(header.contains("t.csv:1:"), "{header}");
        assert!(parse("", 1.0).is_err(), "no payment");
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_processes_share_it(
            rows in prop::collection::vec((0u32..100_000, 0u8..20, 1u8..20, 1u64..1_000_000), 1..200),
            processes in 1usize..5,
        ) {
            let text: String = rows
                .iter()
                .map(|(ms, payer, step, cents)| {
                    let (payee, at) = ((payer + step) % 21, f64::from(*ms) / 1_000.0);
                    format!("{at},n{payer},n{payee},{}.{:02}\n", cents / 100, cents % 100)
                })
                .filter(|line| !line.contains(",0.00"))
                .collect();
            prop_assume!(!text.is_empty());
            let trace = parse(&text, 1.0).unwrap();
            let sum = |payments: &[TracePayment]| payments.iter().map(|p| u128::from(p.amount.micros())).sum::<u128>();
            let given: u128 = rows.iter().map(|(.., cents)| u128::from(*cents) * 10_000).sum();
            prop_assert_eq!(sum(&trace.payments), given);
            prop_assert!(trace.payments.windows(2).all(|two| two[0].at_s <= two[1].at_s));
            prop_assert!(trace.payments.iter().all(|p| (p.payer.max(p.payee) as usize) < trace.accounts));
            let parts: Vec<_> = (0..processes).map(|process| trace.part((process, processes))).collect();
            prop_assert_eq!(parts.iter().map(|part| sum(part)).sum::<u128>(), given);
            prop_assert_eq!(&parse(&text, 1.0).unwrap(), &trace);
        }
    }
}
