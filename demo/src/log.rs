//! Task events of all servers, the last so many.

use std::collections::VecDeque;

/// One event.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// When, by our clock.
    pub(crate) at_us: i64,
    /// Index of the server.
    pub(crate) server: usize,
    pub(crate) kind: Box<str>,
    pub(crate) text: Box<str>,
}

/// The events, numbered in the order in which they came.
#[derive(Debug)]
pub(crate) struct Log {
    entries: VecDeque<Entry>,
    /// Number of the first one that is kept.
    first: u64,
    max: usize,
}

impl Log {
    pub(crate) fn new(max: usize) -> Self {
        Self { entries: VecDeque::new(), first: 0, max: max.max(1) }
    }

    pub(crate) fn push(&mut self, entry: Entry) {
        if self.entries.len() >= self.max {
            self.entries.pop_front();
            self.first += 1;
        }
        self.entries.push_back(entry);
    }

    /// Number of the next event.
    pub(crate) fn end(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    /// Events from a number on, with their numbers.
    pub(crate) fn since(&self, number: u64) -> impl DoubleEndedIterator<Item = (u64, &Entry)> {
        let skip = usize::try_from(number.saturating_sub(self.first)).unwrap_or(usize::MAX).min(self.entries.len());
        let first = self.first + skip as u64;
        self.entries.range(skip..).enumerate().map(move |(index, entry)| (first + index as u64, entry))
    }

    /// Puts events of several files into the order of their times.
    pub(crate) fn sort(&mut self) {
        self.entries.make_contiguous().sort_by_key(|entry| entry.at_us);
    }
}
