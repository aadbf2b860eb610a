//! Arguments and cells: the three types both engines have.

use sqlx::postgres::{PgRow, Postgres};
use sqlx::sqlite::{Sqlite, SqliteRow};
use sqlx::{Column, Executor, Row as _, TypeInfo, ValueRef};

/// An argument of a statement. Nothing has a type too: PostgreSQL asks for it.
#[derive(Debug, Clone)]
pub enum Value {
    /// A whole number.
    Int(Option<i64>),
    /// Text.
    Text(Option<String>),
    /// Bytes.
    Bytes(Option<Vec<u8>>),
}

impl Value {
    /// A whole number.
    pub const fn int(value: i64) -> Self {
        Self::Int(Some(value))
    }

    /// A count, time or amount.
    ///
    /// # Panics
    /// Above 2^63 − 1, which amounts (k × cap ≤ 2^63), times and heights (≤ 2^62) do not reach.
    pub fn count(value: u64) -> Self {
        Self::Int(Some(i64::try_from(value).expect("counts, times and amounts stay below 2^63")))
    }

    /// A count that may be missing.
    pub fn opt_count(value: Option<u64>) -> Self {
        value.map_or(Self::Int(None), Self::count)
    }

    /// Text.
    pub fn text(value: impl Into<String>) -> Self {
        Self::Text(Some(value.into()))
    }

    /// Text that may be missing.
    pub fn opt_text(value: Option<impl Into<String>>) -> Self {
        Self::Text(value.map(Into::into))
    }

    /// Bytes.
    pub fn bytes(value: impl Into<Vec<u8>>) -> Self {
        Self::Bytes(Some(value.into()))
    }
}

#[derive(Debug, Clone)]
enum Cell {
    Nothing,
    Int(i64),
    Text(String),
    Bytes(Vec<u8>),
}

/// A row of an answer. The getters expect the type the statement gives; anything else is a bug of the
/// statement, not of the data.
#[derive(Debug, Clone)]
pub struct Row(Vec<Cell>);

impl Row {
    /// A whole number; 0 when there is none.
    pub fn int(&self, column: usize) -> i64 {
        self.opt_int(column).unwrap_or(0)
    }

    /// A whole number that may be missing.
    pub fn opt_int(&self, column: usize) -> Option<i64> {
        match &self.0[column] {
            Cell::Int(value) => Some(*value),
            Cell::Nothing => None,
            other => panic!("column {column} holds a number, not {other:?}"),
        }
    }

    /// A number that was written as [`Value::count`]; 0 when there is none.
    pub fn count(&self, column: usize) -> u64 {
        self.opt_count(column).unwrap_or(0)
    }

    /// A count that may be missing.
    pub fn opt_count(&self, column: usize) -> Option<u64> {
        self.opt_int(column).map(|value| u64::try_from(value).expect("counts are not negative"))
    }

    /// Text; empty when there is none.
    pub fn text(&self, column: usize) -> &str {
        self.opt_text(column).unwrap_or("")
    }

    /// Text that may be missing.
    pub fn opt_text(&self, column: usize) -> Option<&str> {
        match &self.0[column] {
            Cell::Text(value) => Some(value),
            Cell::Nothing => None,
            other => panic!("column {column} holds text, not {other:?}"),
        }
    }

    /// Bytes; empty when there are none.
    pub fn bytes(&self, column: usize) -> &[u8] {
        match &self.0[column] {
            Cell::Bytes(value) => value,
            Cell::Nothing => &[],
            other => panic!("column {column} holds bytes, not {other:?}"),
        }
    }
}

macro_rules! engine {
    ($fetch:ident, $execute:ident, $cells:ident, $engine:ty, $row:ty) => {
        pub(super) async fn $fetch<'e, E>(executor: E, sql: &'static str, arguments: &[Value]) -> sqlx::Result<Vec<Row>>
        where
            E: Executor<'e, Database = $engine>,
        {
            let mut query = sqlx::query::<$engine>(sql);
            for argument in arguments {
                query = match argument {
                    Value::Int(value) => query.bind(*value),
                    Value::Text(value) => query.bind(value.clone()),
                    Value::Bytes(value) => query.bind(value.clone()),
                };
            }
            query.fetch_all(executor).await?.iter().map($cells).collect()
        }

        pub(super) async fn $execute<'e, E>(executor: E, sql: &'static str, arguments: &[Value]) -> sqlx::Result<u64>
        where
            E: Executor<'e, Database = $engine>,
        {
            let mut query = sqlx::query::<$engine>(sql);
            for argument in arguments {
                query = match argument {
                    Value::Int(value) => query.bind(*value),
                    Value::Text(value) => query.bind(value.clone()),
                    Value::Bytes(value) => query.bind(value.clone()),
                };
            }
            Ok(query.execute(executor).await?.rows_affected())
        }

        fn $cells(row: &$row) -> sqlx::Result<Row> {
            let cell = |index: usize| {
                let raw = row.try_get_raw(index)?;
                if raw.is_null() {
                    return Ok(Cell::Nothing);
                }
                let name = raw.type_info().name().to_owned();
                match name.as_str() {
                    "INTEGER" | "INT8" | "BIGINT" => row.try_get::<i64, _>(index).map(Cell::Int),
                    "INT4" => row.try_get::<i32, _>(index).map(i64::from).map(Cell::Int),
                    "TEXT" | "VARCHAR" => row.try_get::<String, _>(index).map(Cell::Text),
                    "BLOB" | "BYTEA" => row.try_get::<Vec<u8>, _>(index).map(Cell::Bytes),
                    _ => {
                        let column = row.column(index).name().to_owned();
                        let source = format!("type {name} is not used here").into();
                        Err(sqlx::Error::ColumnDecode { index: column, source })
                    }
                }
            };
            (0..row.len()).map(cell).collect::<sqlx::Result<Vec<Cell>>>().map(Row)
        }
    };
}

engine!(fetch_sqlite, execute_sqlite, cells_sqlite, Sqlite, SqliteRow);
engine!(fetch_postgres, execute_postgres, cells_postgres, Postgres, PgRow);
