//! `acks.bin`: every payment that loadgen holds a checked certificate for.
//!
//! A header of 12 bytes (`SPAYACKS`, version u32), then records of 47 bytes, all integers little-endian:
//! txid\[32\], committee u16 of the certified header, height u64, leaf u32, kind u8 (1 debit, 2 credit).
//! A process that is killed can leave a torn record at the end; the reader leaves it out and says so.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read as _, Write as _};
use std::path::{Path, PathBuf};

use shardpay_types::{Codec as _, CommitteeId, DecodeError, Height, Reader, TxId};

use crate::dir::RunError;

const MAGIC: &[u8; 8] = b"SPAYACKS";
const VERSION: u32 = 1;
const RECORD_BYTES: usize = 47;

/// What was certified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AckKind {
    /// The transaction's own leaf, at the committee that decides it.
    Debit,
    /// The leaf of its credit, at the payee's committee.
    Credit,
}

/// One acknowledged payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ack {
    /// The transaction.
    pub txid: TxId,
    /// Whose header is certified.
    pub committee: CommitteeId,
    /// The ledger block.
    pub height: Height,
    /// Index of the leaf.
    pub leaf: u32,
    /// Of what.
    pub kind: AckKind,
}

impl Ack {
    fn encode(&self, out: &mut Vec<u8>) {
        self.txid.encode(out);
        self.committee.encode(out);
        self.height.encode(out);
        self.leaf.encode(out);
        out.push(match self.kind {
            AckKind::Debit => 1,
            AckKind::Credit => 2,
        });
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        Ok(Self {
            txid: TxId::decode(&mut reader)?,
            committee: CommitteeId::decode(&mut reader)?,
            height: Height::decode(&mut reader)?,
            leaf: u32::decode(&mut reader)?,
            kind: match u8::decode(&mut reader)? {
                1 => AckKind::Debit,
                2 => AckKind::Credit,
                tag => return Err(DecodeError::UnknownTag { what: "AckKind", tag }),
            },
        })
    }
}

/// Writes acknowledgements as they come.
pub struct AckWriter {
    path: PathBuf,
    out: BufWriter<File>,
    record: Vec<u8>,
}

impl AckWriter {
    /// Starts a new file.
    pub fn create(path: &Path) -> Result<Self, RunError> {
        let mut out = BufWriter::with_capacity(1 << 18, File::create(path).map_err(RunError::io(path))?);
        let header = out.write_all(MAGIC).and_then(|()| out.write_all(&VERSION.to_le_bytes()));
        header.map_err(RunError::io(path))?;
        Ok(Self { path: path.to_owned(), out, record: Vec::with_capacity(RECORD_BYTES) })
    }

    /// Adds one.
    pub fn write(&mut self, ack: &Ack) -> Result<(), RunError> {
        self.record.clear();
        ack.encode(&mut self.record);
        self.out.write_all(&self.record).map_err(RunError::io(&self.path))
    }

    /// Hands everything to the operating system.
    pub fn flush(&mut self) -> Result<(), RunError> {
        self.out.flush().map_err(RunError::io(&self.path))
    }
}

/// What a file of acknowledgements holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AckLog {
    /// In the order in which they came.
    pub acks: Vec<Ack>,
    /// Whether the last record was torn.
    pub torn: bool,
}

/// Reads a file of acknowledgements.
pub fn read_acks(path: &Path) -> Result<AckLog, RunError> {
    let file = File::open(path).map_err(RunError::io(path))?;
    let mut reader = BufReader::with_capacity(1 << 18, file);
    let mut header = [0; MAGIC.len() + 4];
    reader.read_exact(&mut header).map_err(RunError::io(path))?;
    if header[..MAGIC.len()] != MAGIC[..] {
        return Err(RunError::malformed(path, "no acknowledgements: the file does not begin with SPAYACKS"));
    }
    if header[MAGIC.len()..] != VERSION.to_le_bytes() {
        return Err(RunError::malformed(path, format!("not of version {VERSION}")));
    }
    let mut log = AckLog::default();
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        let read = reader.by_ref().take(RECORD_BYTES as u64).read_to_end(&mut bytes).map_err(RunError::io(path))?;
        if read < RECORD_BYTES {
            log.torn = read > 0;
            return Ok(log);
        }
        let number = log.acks.len();
        let ack =
            Ack::decode(&bytes).map_err(|error| RunError::malformed(path, format!("record {number}: {error}")))?;
        log.acks.push(ack);
    }
}
