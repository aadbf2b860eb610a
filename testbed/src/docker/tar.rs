//! Tar archives that depend on their content only: entries in the order they are given, owned by root unless said, all of
//! the first second of 1970 (POSIX.1-1988, "ustar").

const BLOCK: usize = 512;
const NAME_MAX: usize = 100;

/// An archive in memory.
#[derive(Default)]
pub(super) struct Tar(Vec<u8>);

impl Tar {
    /// Adds a directory; its name has no slash at either end.
    pub(super) fn dir(&mut self, name: &str, mode: u32) {
        self.header(&format!("{name}/"), b'5', (mode, 0), 0);
    }

    /// Adds a directory that belongs to a user and the group of the same number.
    pub(super) fn dir_of(&mut self, name: &str, mode: u32, owner: u32) {
        self.header(&format!("{name}/"), b'5', (mode, owner), 0);
    }

    /// Adds a file.
    pub(super) fn file(&mut self, name: &str, mode: u32, content: &[u8]) {
        self.header(name, b'0', (mode, 0), content.len());
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(BLOCK), 0);
    }

    /// Adds a second name of a file that was added before.
    pub(super) fn link(&mut self, name: &str, to: &str) {
        assert!(to.len() < NAME_MAX, "names in images are short: {to}");
        self.header(name, b'1', (0o555, 0), 0);
        let start = self.0.len() - BLOCK;
        let header = &mut self.0[start..];
        header[157..157 + to.len()].copy_from_slice(to.as_bytes());
        sign(header);
    }

    /// The archive.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 2 * BLOCK, 0);
        self.0
    }

    fn header(&mut self, name: &str, kind: u8, (mode, owner): (u32, u32), size: usize) {
        assert!(name.len() < NAME_MAX, "names in images are short: {name}");
        let mut header = [0; BLOCK];
        let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, name.as_bytes());
        put(100, format!("{mode:07o}").as_bytes());
        put(108, format!("{owner:07o}").as_bytes());
        put(116, format!("{owner:07o}").as_bytes());
        put(124, format!("{size:011o}").as_bytes());
        put(136, b"00000000000");
        put(156, &[kind]);
        put(257, b"ustar\x0000");
        sign(&mut header);
        self.0.extend_from_slice(&header);
    }
}

/// Puts a header's sum into it.
fn sign(header: &mut [u8]) {
    header[148..156].copy_from_slice(b"        ");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn tar_reads_what_is_written() {
        let mut tar = Tar::default();
        tar.dir("bin", 0o755);
        tar.file("bin/a", 0o555, &[b'x'; 700]);
        tar.file("empty", 0o444, b"");
        tar.link("bin/b", "bin/a");
        let bytes = tar.finish();
        assert_eq!(bytes.len() % BLOCK, 0);
        let listed = Command::new("tar").arg("-tvf").arg("-").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = listed.unwrap();
        child.stdin.take().unwrap().write_all(&bytes).unwrap();
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{text}");
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        let found: Vec<_> = lines.iter().map(|line| (line[0], line[2], *line.last().unwrap())).collect();
        let files = [("drwxr-xr-x", "0", "bin/"), ("-r-xr-xr-x", "700", "bin/a"), ("-r--r--r--", "0", "empty")];
        assert_eq!(found[..3], files);
        assert_eq!((found[3].0, found[3].2), ("hr-xr-xr-x", "bin/a"), "a second name: {text}");
    }
}
