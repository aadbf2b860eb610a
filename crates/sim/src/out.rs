//! Printing for readers who may leave: `sim run … | head -1` runs to its end and gives the run's own exit code.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write};

/// Writes a line. A reader that has gone is no error; any other failure ends the program, since a result that
/// cannot be read is none.
pub(crate) fn line(to: &mut dyn Write, text: Arguments<'_>) {
    match writeln!(to, "{text}").and_then(|()| to.flush()) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
        Err(error) => {
            // when this fails too there is nobody to tell
            let _ = writeln!(std::io::stderr(), "sim: the output cannot be written: {error}");
            std::process::exit(2);
        }
    }
}

/// A line of the result.
macro_rules! say {
    ($($text:tt)*) => { $crate::out::line(&mut std::io::stdout(), format_args!($($text)*)) };
}

/// A line of complaint.
macro_rules! complain {
    ($($text:tt)*) => { $crate::out::line(&mut std::io::stderr(), format_args!($($text)*)) };
}

pub(crate) use {complain, say};
