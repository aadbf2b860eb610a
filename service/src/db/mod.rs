//! The store: SQLite or PostgreSQL behind one small set of calls.
//!
//! Guarantees: one statement text for both engines (`$1` placeholders, `BIGINT`, `TEXT`, bytes); a `Tx` is
//! written as a whole when `Tx::commit` returns and not at all when it is dropped. SQLite has one writer,
//! so its transactions are serial; on PostgreSQL they are READ COMMITTED, so every change of a state names
//! the state it expects and looks at the number of rows it changed.
//!
//! Writes are durable when they return. Those by `Db::note` are not: a loss of power may take back the newest of them
//! (a crash of the process does not), which spares a sync where losing them does no harm.
//!
//! A `Fuse` makes every call fail from a chosen one on, as if the process had been killed there: what the
//! crash tests use.

mod fuse;
mod schema;
mod value;

use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgPool, PgPoolOptions, Postgres};
use sqlx::sqlite::{Sqlite, SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{AssertSqlSafe, Transaction};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub use fuse::Fuse;
pub use value::{Row, Value};

/// Connections that read, at most.
const READERS_MAX: u32 = 4;
/// How long to wait for a connection.
const ACQUIRE_MAX: Duration = Duration::from_secs(5);

/// The store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The engine says so.
    #[error("store: {0}")]
    Engine(#[from] sqlx::Error),
    /// The URL is of no engine known here.
    #[error("database_url: neither sqlite: nor postgres:")]
    Url,
    /// The database was written by a newer version of this program.
    #[error("the database has schema version {found}, this program knows {known}")]
    Newer {
        /// In the database.
        found: i64,
        /// Here.
        known: i64,
    },
    /// The database follows another ledger.
    #[error("the database follows ledger {found}, not {expected}: use another data_dir or database_url")]
    OtherLedger {
        /// In the database.
        found: String,
        /// Asked for.
        expected: String,
    },
    /// The fuse has blown.
    #[error("store: the fuse has blown")]
    Blown,
}

#[derive(Clone)]
enum Pools {
    /// Two connections write, one of them without syncs; `turn` lets one write at a time.
    Sqlite {
        writer: SqlitePool,
        noter: SqlitePool,
        readers: SqlitePool,
        turn: Arc<Semaphore>,
    },
    Postgres(PgPool),
}

/// The store. Clones share connections.
#[derive(Clone)]
pub struct Db {
    pools: Pools,
    fuse: Option<Arc<Fuse>>,
}

/// A transaction under way.
pub struct Tx {
    open: Open,
    /// Held while a SQLite transaction is open; dropped after it.
    _turn: Option<OwnedSemaphorePermit>,
    fuse: Option<Arc<Fuse>>,
}

enum Open {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(Transaction<'static, Postgres>),
}

impl Db {
    /// Opens the store a URL names (`postgres://…`, `sqlite:PATH`) and brings its schema up to date.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        if let Some(path) = url.strip_prefix("sqlite:") {
            return Self::open_sqlite(Path::new(path.trim_start_matches("//"))).await;
        }
        if !url.starts_with("postgres:") && !url.starts_with("postgresql:") {
            return Err(StoreError::Url);
        }
        let pool = PgPoolOptions::new().max_connections(8).acquire_timeout(ACQUIRE_MAX).connect(url).await?;
        Self { pools: Pools::Postgres(pool), fuse: None }.migrated().await
    }

    /// Opens a SQLite file.
    pub async fn open_sqlite(path: &Path) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::from_str("sqlite://")?
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(ACQUIRE_MAX);
        let pool = |max: u32| SqlitePoolOptions::new().max_connections(max).acquire_timeout(ACQUIRE_MAX);
        let writer = pool(1).connect_with(options.clone()).await?;
        let noter = pool(1).connect_with(options.clone().synchronous(SqliteSynchronous::Normal)).await?;
        let readers = pool(READERS_MAX).connect_with(options).await?;
        let pools = Pools::Sqlite { writer, noter, readers, turn: Arc::new(Semaphore::new(1)) };
        Self { pools, fuse: None }.migrated().await
    }

    /// The same store behind a fuse.
    pub fn with_fuse(mut self, fuse: Arc<Fuse>) -> Self {
        self.fuse = Some(fuse);
        self
    }

    /// Rows of a statement that changes nothing.
    pub async fn read(&self, sql: &'static str, arguments: &[Value]) -> Result<Vec<Row>, StoreError> {
        Fuse::tick(&self.fuse)?;
        match &self.pools {
            Pools::Sqlite { readers, .. } => Ok(value::fetch_sqlite(readers, sql, arguments).await?),
            Pools::Postgres(pool) => Ok(value::fetch_postgres(pool, sql, arguments).await?),
        }
    }

    /// The only row of a statement that changes nothing, if there is one.
    pub async fn read_one(&self, sql: &'static str, arguments: &[Value]) -> Result<Option<Row>, StoreError> {
        Ok(self.read(sql, arguments).await?.into_iter().next())
    }

    /// Carries out one statement by itself; the number of rows changed.
    pub async fn write(&self, sql: &'static str, arguments: &[Value]) -> Result<u64, StoreError> {
        let mut tx = self.begin().await?;
        let changed = tx.write(sql, arguments).await?;
        tx.commit().await?;
        Ok(changed)
    }

    /// The same for what may be lost with the power.
    pub async fn note(&self, sql: &'static str, arguments: &[Value]) -> Result<u64, StoreError> {
        let mut tx = self.begin_note().await?;
        let changed = tx.write(sql, arguments).await?;
        tx.commit().await?;
        Ok(changed)
    }

    /// Begins a transaction.
    pub async fn begin(&self) -> Result<Tx, StoreError> {
        self.begin_with(true).await
    }

    /// Begins a transaction over what may be lost with the power.
    pub async fn begin_note(&self) -> Result<Tx, StoreError> {
        self.begin_with(false).await
    }

    async fn begin_with(&self, durable: bool) -> Result<Tx, StoreError> {
        Fuse::tick(&self.fuse)?;
        let (open, turn) = match &self.pools {
            Pools::Sqlite { writer, noter, turn, .. } => {
                let turn = turn.clone().acquire_owned().await.map_err(|_| sqlx::Error::PoolClosed)?;
                let pool = if durable { writer } else { noter };
                (Open::Sqlite(pool.begin_with("BEGIN IMMEDIATE").await?), Some(turn))
            }
            Pools::Postgres(pool) => (Open::Postgres(pool.begin().await?), None),
        };
        let mut tx = Tx { open, _turn: turn, fuse: self.fuse.clone() };
        if let (Open::Postgres(_), false) = (&tx.open, durable) {
            tx.run("SET LOCAL synchronous_commit = off").await?;
        }
        Ok(tx)
    }

    /// Binds the database to a ledger, for good: its heights mean nothing on another one.
    pub async fn bind(&self, chain: &str) -> Result<(), StoreError> {
        let sql = "INSERT INTO ledger (id, chain) VALUES (1, $1) ON CONFLICT (id) DO NOTHING";
        self.write(sql, &[Value::text(chain)]).await?;
        let row = self.read_one("SELECT chain FROM ledger WHERE id = 1", &[]).await?;
        let found = row.map(|row| row.text(0).to_owned()).unwrap_or_default();
        if found == chain { Ok(()) } else { Err(StoreError::OtherLedger { found, expected: chain.to_owned() }) }
    }

    /// Closes all connections.
    pub async fn close(&self) {
        match &self.pools {
            Pools::Sqlite { writer, noter, readers, turn } => {
                turn.close();
                readers.close().await;
                noter.close().await;
                writer.close().await;
            }
            Pools::Postgres(pool) => pool.close().await,
        }
    }

    async fn migrated(self) -> Result<Self, StoreError> {
        let bytes = match &self.pools {
            Pools::Sqlite { .. } => "BLOB",
            Pools::Postgres(_) => "BYTEA",
        };
        let mut tx = self.begin().await?;
        if let Open::Postgres(_) = tx.open {
            // two programs that start at once
            tx.run("SELECT pg_advisory_xact_lock(7386114)").await?;
        }
        tx.run("CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL)").await?;
        let found = tx.read_one("SELECT MAX(version) FROM schema_version", &[]).await?;
        let found = found.and_then(|row| row.opt_int(0)).unwrap_or(0);
        let known = i64::try_from(schema::STEPS.len()).expect("few steps");
        if found > known {
            return Err(StoreError::Newer { found, known });
        }
        for (version, step) in (1..).zip(schema::STEPS) {
            if version <= found {
                continue;
            }
            for statement in step.split(';').map(str::trim).filter(|statement| !statement.is_empty()) {
                tx.run(&statement.replace("{BYTES}", bytes)).await?;
            }
            tx.write("INSERT INTO schema_version (version) VALUES ($1)", &[Value::int(version)]).await?;
        }
        tx.commit().await?;
        Ok(self)
    }
}

/// Whoever reads: the store, or a transaction under way.
pub enum Reader<'a> {
    /// What is committed.
    Db(&'a Db),
    /// What the transaction sees.
    Tx(&'a mut Tx),
}

impl Reader<'_> {
    /// Rows of a statement that changes nothing.
    pub async fn read(&mut self, sql: &'static str, arguments: &[Value]) -> Result<Vec<Row>, StoreError> {
        match self {
            Self::Db(db) => db.read(sql, arguments).await,
            Self::Tx(tx) => tx.read(sql, arguments).await,
        }
    }
}

impl Tx {
    /// Rows of a statement.
    pub async fn read(&mut self, sql: &'static str, arguments: &[Value]) -> Result<Vec<Row>, StoreError> {
        Fuse::tick(&self.fuse)?;
        match &mut self.open {
            Open::Sqlite(tx) => Ok(value::fetch_sqlite(&mut **tx, sql, arguments).await?),
            Open::Postgres(tx) => Ok(value::fetch_postgres(&mut **tx, sql, arguments).await?),
        }
    }

    /// The first row of a statement, if there is one.
    pub async fn read_one(&mut self, sql: &'static str, arguments: &[Value]) -> Result<Option<Row>, StoreError> {
        Ok(self.read(sql, arguments).await?.into_iter().next())
    }

    /// Carries out a statement; the number of rows changed.
    pub async fn write(&mut self, sql: &'static str, arguments: &[Value]) -> Result<u64, StoreError> {
        Fuse::tick(&self.fuse)?;
        match &mut self.open {
            Open::Sqlite(tx) => Ok(value::execute_sqlite(&mut **tx, sql, arguments).await?),
            Open::Postgres(tx) => Ok(value::execute_postgres(&mut **tx, sql, arguments).await?),
        }
    }

    /// Makes everything durable.
    pub async fn commit(self) -> Result<(), StoreError> {
        Fuse::tick(&self.fuse)?;
        match self.open {
            Open::Sqlite(tx) => tx.commit().await?,
            Open::Postgres(tx) => tx.commit().await?,
        }
        // killed between the commit and whatever was to follow
        Fuse::tick(&self.fuse)
    }

    async fn run(&mut self, sql: &str) -> Result<(), StoreError> {
        let statement = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
        match &mut self.open {
            Open::Sqlite(tx) => statement.execute(&mut **tx).await.map(|_| ())?,
            Open::Postgres(tx) => statement.execute(&mut **tx).await.map(|_| ())?,
        }
        Ok(())
    }
}
