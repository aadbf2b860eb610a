//! Opening a store, and refusing one that is not ours.
//!
//! Whose store it is stands in the store, written before anything else. An empty directory becomes a new
//! store; so does one whose creation was cut short.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rocksdb::{ColumnFamilyDescriptor, DB, Options};
use shardpay_types::{ChainId, Codec, CommitteeId, PublicKey, wire_struct};

use crate::behind::Behind;
use crate::db::Db;
use crate::error::StorageError;
use crate::keys;
use crate::ledger_store::LedgerStore;
use crate::node_store::{NodeStore, Shared};
use crate::options::{self, Durability, StoreOptions};
use crate::read_only::ReadOnlyStore;
use crate::record_log::RecordLog;
use crate::tables::Table;

/// The format written. A change of tables, keys or values makes the next one.
pub const FORMAT_VERSION: u32 = 1;

wire_struct! {
    /// Whose store it is.
    #[derive(Copy)]
    pub struct StoreIdentity {
        /// The ledger.
        pub chain: ChainId,
        /// The node.
        pub node_key: PublicKey,
        /// Its committee.
        pub committee: CommitteeId,
    }
}

/// The parts of an open store; it closes when all are dropped.
pub struct Opened {
    /// Named values, figures, closing.
    pub store: NodeStore,
    /// For the ledger.
    pub ledger: LedgerStore,
    /// For the replica.
    pub records: RecordLog,
}

impl NodeStore {
    /// Opens the store in `dir`, or makes one there; accounts are as of its last ledger block. Refuses a store
    /// with another identity.
    pub fn open(dir: &Path, identity: StoreIdentity, options: StoreOptions) -> Result<Opened, StorageError> {
        let db = Arc::new(read_write(dir, &identity, &options)?);
        let behind = Behind::recover(db.clone())?;
        let shared = Arc::new(Shared::start(db, behind, options)?);
        let store = Self { shared: shared.clone() };
        Ok(Opened { store, ledger: LedgerStore::new(shared.clone()), records: RecordLog::new(shared) })
    }

    /// Opens the store in `dir` for looking only.
    pub fn open_read_only(dir: &Path) -> Result<ReadOnlyStore, StorageError> {
        ReadOnlyStore::open(dir)
    }
}

/// Names of the tables that a store has; `None` when there is no store.
fn tables(dir: &Path) -> Result<Option<Vec<String>>, StorageError> {
    if dir.join("CURRENT").exists() {
        let listed = DB::list_cf(&Options::default(), dir);
        return listed.map(Some).map_err(|error| StorageError::rocks(dir, &error));
    }
    let files = match fs::read_dir(dir) {
        Ok(files) => files,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StorageError::io(dir, &error)),
    };
    for file in files {
        let name = file.map_err(|error| StorageError::io(dir, &error))?.file_name();
        let name = name.to_string_lossy();
        if name.ends_with(".sst") || name.ends_with(".log") {
            return Err(StorageError::corrupt(dir, format!("{name} is there, CURRENT is not")));
        }
    }
    Ok(None)
}

/// Whether `listed` names all tables.
fn complete(listed: &[String]) -> bool {
    Table::ALL.iter().all(|table| listed.iter().any(|name| name == table.name()))
}

/// Our tables, and what else stands in the store: a newer format's, which must be opened to read the version.
fn descriptors(options: &StoreOptions, listed: &[String]) -> Vec<ColumnFamilyDescriptor> {
    let unknown = |name: &&String| Table::ALL.iter().all(|table| table.name() != name.as_str());
    let unknown = listed.iter().filter(unknown).map(|name| ColumnFamilyDescriptor::new(name, Options::default()));
    options::descriptors(options).into_iter().chain(unknown).collect()
}

fn read_write(dir: &Path, identity: &StoreIdentity, options: &StoreOptions) -> Result<Db, StorageError> {
    let listed = tables(dir)?;
    if let Some(listed) = listed.as_ref().filter(|listed| !complete(listed)) {
        refuse_incomplete(dir, listed)?;
    }
    fs::create_dir_all(dir).map_err(|error| StorageError::io(dir, &error))?;
    let mut database = options::database(options);
    database.create_if_missing(true);
    database.create_missing_column_families(true);
    let descriptors = descriptors(options, &listed.unwrap_or_default());
    let inner = DB::open_cf_descriptors(&database, dir, descriptors);
    let db = Db::new(inner.map_err(|error| StorageError::rocks(dir, &error))?, dir);
    match read_identity(&db)? {
        Some(found) => check_identity(dir, &found, identity)?,
        None => claim(&db, identity)?,
    }
    Ok(db)
}

/// Without all tables a store is of another format, damaged, or its creation was cut short: the last one
/// alone has no version yet.
fn refuse_incomplete(dir: &Path, listed: &[String]) -> Result<(), StorageError> {
    let inner = DB::open_cf_for_read_only(&Options::default(), dir, listed, false);
    let inner = inner.map_err(|error| StorageError::rocks(dir, &error))?;
    let version = inner.get(keys::meta::VERSION).map_err(|error| StorageError::rocks(dir, &error))?;
    let Some(version) = version else { return Ok(()) };
    check_version(dir, &version)?;
    Err(StorageError::corrupt(dir, "tables are missing"))
}

fn check_version(dir: &Path, bytes: &[u8]) -> Result<(), StorageError> {
    let found = u32::from_bytes(bytes).map_err(|error| StorageError::corrupt(dir, format!("version: {error}")))?;
    match found {
        FORMAT_VERSION => Ok(()),
        found if found > FORMAT_VERSION => {
            Err(StorageError::VersionTooNew { path: dir.to_owned(), found, known: FORMAT_VERSION })
        }
        found => Err(StorageError::corrupt(dir, format!("format {found} never was"))),
    }
}

fn read_identity(db: &Db) -> Result<Option<StoreIdentity>, StorageError> {
    let Some(version) = db.get(Table::Meta, keys::meta::VERSION)? else { return Ok(None) };
    check_version(db.path(), &version)?;
    let identity = db.read(Table::Meta, keys::meta::IDENTITY)?;
    identity.map(Some).ok_or_else(|| db.corrupt("its identity is missing"))
}

fn check_identity(dir: &Path, found: &StoreIdentity, expected: &StoreIdentity) -> Result<(), StorageError> {
    let fields = [
        ("chain", found.chain.to_string(), expected.chain.to_string()),
        ("node key", found.node_key.to_string(), expected.node_key.to_string()),
        ("committee", found.committee.to_string(), expected.committee.to_string()),
    ];
    match fields.into_iter().find(|(_, found, expected)| found != expected) {
        None => Ok(()),
        Some((field, found, expected)) => Err(StorageError::Foreign { path: dir.to_owned(), field, found, expected }),
    }
}

/// Makes an empty database the store of `identity`.
fn claim(db: &Db, identity: &StoreIdentity) -> Result<(), StorageError> {
    for table in Table::ALL {
        if db.scan(table, &[], None).next().transpose()?.is_some() {
            return Err(db.corrupt(format!("table {} has entries, but there is no version", table.name())));
        }
    }
    let mut out = db.batch();
    out.put(Table::Meta, keys::meta::VERSION, &FORMAT_VERSION.to_bytes());
    out.put(Table::Meta, keys::meta::IDENTITY, &identity.to_bytes());
    out.write()?;
    db.sync()
}

/// Opens a store for reading and says whose it is.
pub(crate) fn read_only(dir: &Path) -> Result<(Db, StoreIdentity), StorageError> {
    let missing = || StorageError::Missing { path: dir.to_owned() };
    let listed = tables(dir)?.ok_or_else(missing)?;
    if !complete(&listed) {
        refuse_incomplete(dir, &listed)?;
        return Err(missing());
    }
    let options = StoreOptions::standard(Durability::Os);
    let descriptors = descriptors(&options, &listed);
    let inner = DB::open_cf_descriptors_read_only(&options::database(&options), dir, descriptors, false);
    let db = Db::new(inner.map_err(|error| StorageError::rocks(dir, &error))?, dir);
    let identity = read_identity(&db)?.ok_or_else(missing)?;
    Ok((db, identity))
}
