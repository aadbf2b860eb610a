//! Images from scratch: the programs of the local release build, without their symbols, and the shared libraries
//! they need. All programs are one file (`shardpay`, package `shardpay-programs`) that knows by its name which it is. No
//! registry, no network, no second compilation.
//!
//! Guarantees: the same programs and libraries give the same images, byte by byte (fixed order, owner and times), so
//! an image's name, which holds a part of its digest, names its content. Images run as a user that is not root. All
//! share two layers, of programs and of libraries.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::rc::Rc;

use serde_json::{Value, json};
use shardpay_crypto::sha256;

use super::daemon::{DockerError, ask, docker};
use super::tar::Tar;

/// The programs that have an image whether or not a run needs it; `node-byzantine` has one when it does.
pub const PROGRAMS: [&str; 6] = ["node", "signaler", "loadgen", "demo", "service", "shop"];
/// The file that is all of them: each by its name.
const ALL_IN_ONE: &str = "shardpay";
/// Where this machine keeps the authorities it trusts: clients of HTTP do not start without any.
const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";
/// User and group in the images.
pub const USER: (u32, u32) = (10_001, 10_001);

/// Names of images, by program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Images {
    names: BTreeMap<String, String>,
    /// Bytes of all programs and libraries.
    pub bytes: usize,
}

impl Images {
    /// The image of a program.
    pub fn of(&self, program: &str) -> Option<&str> {
        self.names.get(program).map(String::as_str)
    }

    /// Images that are somewhere else, for tests.
    #[cfg(test)]
    pub(crate) fn named(names: &[(&str, &str)]) -> Self {
        let owned = |(program, name): &(&str, &str)| ((*program).to_owned(), (*name).to_owned());
        Self { names: names.iter().map(owned).collect(), bytes: 0 }
    }

    /// All names, by program.
    pub fn names(&self) -> impl Iterator<Item = (&str, &str)> {
        self.names.iter().map(|(program, name)| (program.as_str(), name.as_str()))
    }

    /// Makes the images of these programs below `dir`, and gives those to the daemon that it has not.
    pub fn build<'a>(dir: &Path, programs: impl IntoIterator<Item = &'a str>) -> Result<Self, DockerError> {
        let built = Built::new(dir, &programs.into_iter().collect())?;
        let images = Self { names: built.names(), bytes: built.bytes() };
        let there = docker(&["images", "--format", "{{.Repository}}:{{.Tag}}"])?;
        if images.names.values().any(|name| !there.lines().any(|line| line == name)) {
            ask("docker", &["load", "--quiet"], Some(&built.archive()))?;
        }
        Ok(images)
    }
}

/// A layer and its digest.
struct Layer {
    digest: String,
    tar: Vec<u8>,
}

impl Layer {
    fn new(tar: Tar) -> Self {
        let tar = tar.finish();
        Self { digest: hex::encode(sha256(&[&tar])), tar }
    }
}

/// Images before they are loaded.
struct Built {
    libraries: Layer,
    /// Program, the layer that holds it, its configuration.
    programs: Vec<(String, Rc<Layer>, Vec<u8>)>,
}

impl Built {
    fn new(dir: &Path, programs: &BTreeSet<&str>) -> Result<Self, DockerError> {
        let mut needed = BTreeMap::new();
        let mut layers: BTreeMap<&str, Rc<Layer>> = BTreeMap::new();
        for program in programs {
            let file = if PROGRAMS.contains(program) { ALL_IN_ONE } else { *program };
            if let Entry::Vacant(vacant) = layers.entry(file) {
                let path = dir.join(file);
                if !path.is_file() {
                    let build = "'cargo build --release --workspace --bins' builds it";
                    return Err(DockerError::Image(format!("{} is missing: {build}", path.display())));
                }
                needed.extend(closure(&path)?);
                vacant.insert(Rc::new(Layer::new(programs_of(file, &stripped(&path)?))));
            }
        }
        let authorities = fs::read(AUTHORITIES).map_err(|error| {
            DockerError::Image(format!("{AUTHORITIES}: {error}; 'apt-get install ca-certificates'"))
        })?;
        let libraries = Layer::new(libraries(&needed, &authorities));
        let image = |program: &&str| {
            let file = if PROGRAMS.contains(program) { ALL_IN_ONE } else { *program };
            let layer = Rc::clone(&layers[file]);
            let config = configuration(program, [&libraries, &layer]);
            ((*program).to_owned(), layer, config)
        };
        let programs = programs.iter().map(image).collect();
        Ok(Self { libraries, programs })
    }

    fn names(&self) -> BTreeMap<String, String> {
        let name = |(program, _, config): &(String, Rc<Layer>, Vec<u8>)| (program.clone(), name(program, config));
        self.programs.iter().map(name).collect()
    }

    fn bytes(&self) -> usize {
        self.libraries.tar.len() + self.layers().values().map(|layer| layer.tar.len()).sum::<usize>()
    }

    /// The layers of programs, each once.
    fn layers(&self) -> BTreeMap<&str, &Layer> {
        self.programs.iter().map(|(_, layer, _)| (layer.digest.as_str(), &**layer)).collect()
    }

    /// What `docker load` reads.
    fn archive(&self) -> Vec<u8> {
        let mut tar = Tar::default();
        let layer = |layer: &Layer| format!("{}.tar", layer.digest);
        let mut manifest: Vec<Value> = Vec::new();
        tar.file(&layer(&self.libraries), 0o444, &self.libraries.tar);
        self.layers().values().for_each(|own| tar.file(&layer(own), 0o444, &own.tar));
        for (program, own, config) in &self.programs {
            let path = format!("{}.json", hex::encode(sha256(&[config])));
            tar.file(&path, 0o444, config);
            manifest.push(json!({
                "Config": path,
                "RepoTags": [name(program, config)],
                "Layers": [layer(&self.libraries), layer(own)],
            }));
        }
        let manifest = serde_json::to_vec(&manifest).expect("plain data");
        tar.file("manifest.json", 0o444, &manifest);
        tar.finish()
    }
}

fn name(program: &str, config: &[u8]) -> String {
    format!("shardpay/{program}:{}", &hex::encode(sha256(&[config]))[..12])
}

fn configuration(program: &str, layers: [&Layer; 2]) -> Vec<u8> {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let config = json!({
        "architecture": architecture,
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": {
            "User": format!("{}:{}", USER.0, USER.1),
            "Entrypoint": [format!("/bin/{program}")],
            "Env": ["PATH=/bin", "NO_COLOR=1"],
            "Labels": { "shardpay.program": program },
        },
        "rootfs": { "type": "layers", "diff_ids": layers.map(|layer| format!("sha256:{}", layer.digest)) },
        "history": [
            { "created": "1970-01-01T00:00:00Z", "created_by": "testbed images: libraries" },
            { "created": "1970-01-01T00:00:00Z", "created_by": format!("testbed images: {program}") },
        ],
    });
    serde_json::to_vec(&config).expect("plain data")
}

/// A layer with a program, under all the names that it has.
fn programs_of(file: &str, content: &[u8]) -> Tar {
    let mut tar = Tar::default();
    tar.dir("bin", 0o755);
    let path = format!("bin/{file}");
    tar.file(&path, 0o555, content);
    if file == ALL_IN_ONE {
        PROGRAMS.iter().for_each(|name| tar.link(&format!("bin/{name}"), &path));
    }
    tar
}

/// A program without its symbols.
fn stripped(path: &Path) -> Result<Vec<u8>, DockerError> {
    let out = tempfile_beside(path)?;
    let status = Command::new("strip").arg("--strip-all").arg("-o").arg(&out).arg(path).output();
    let output = status.map_err(|source| DockerError::Io { program: "strip", source })?;
    let read = fs::read(&out);
    let _ = fs::remove_file(&out);
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        return Err(DockerError::Image(format!("strip {}: {}", path.display(), why.trim())));
    }
    read.map_err(|error| DockerError::Image(format!("{}: {error}", out.display())))
}

fn tempfile_beside(path: &Path) -> Result<std::path::PathBuf, DockerError> {
    let name = path.file_name().ok_or_else(|| DockerError::Image(format!("{} is no program", path.display())))?;
    let name = format!("shardpay-{}-{}.stripped", std::process::id(), name.to_string_lossy());
    Ok(std::env::temp_dir().join(name))
}

/// The shared libraries that a program needs, with the loader: path in the image, and content.
fn closure(path: &Path) -> Result<BTreeMap<String, Vec<u8>>, DockerError> {
    let output = Command::new("ldd").arg(path).output();
    let output = output.map_err(|source| DockerError::Io { program: "ldd", source })?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        return Err(DockerError::Image(format!("ldd {}: {}", path.display(), text.trim())));
    }
    let mut found = BTreeMap::new();
    for file in text.lines().filter_map(library) {
        let content = fs::read(file).map_err(|error| DockerError::Image(format!("{file}: {error}")))?;
        found.insert(file.trim_start_matches('/').to_owned(), content);
    }
    Ok(found)
}

/// The file that a line of ldd names; the kernel's own has none.
fn library(line: &str) -> Option<&str> {
    let place = line.rsplit_once("=>").map_or(line, |(_, place)| place);
    place.split_whitespace().next().filter(|file| file.starts_with('/'))
}

/// Libraries, and what makes name resolution work: the C library reads the order from a file, and DNS and files
/// are a part of it.
fn libraries(needed: &BTreeMap<String, Vec<u8>>, authorities: &[u8]) -> Tar {
    let mut tar = Tar::default();
    let mut dirs: Vec<&str> = vec!["etc", "etc/ssl", "etc/ssl/certs", "tmp"];
    for file in needed.keys() {
        dirs.extend(file.match_indices('/').map(|(at, _)| &file[..at]));
    }
    dirs.sort_unstable();
    dirs.dedup();
    for dir in dirs {
        tar.dir(dir, if dir == "tmp" { 0o1777 } else { 0o755 });
    }
    let (user, group) = USER;
    // what a new volume begins with
    tar.dir_of("data", 0o755, user);
    tar.file("etc/group", 0o444, format!("shardpay:x:{group}:\n").as_bytes());
    tar.file("etc/nsswitch.conf", 0o444, b"hosts: files dns\n");
    tar.file("etc/passwd", 0o444, format!("shardpay:x:{user}:{group}::/tmp:/bin/false\n").as_bytes());
    tar.file(AUTHORITIES.trim_start_matches('/'), 0o444, authorities);
    for (file, content) in needed {
        tar.file(file, 0o555, content);
    }
    tar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_ldd_name_files() {
        assert_eq!(library("\tlinux-vdso.so.1 (0x00007ffd)"), None);
        assert_eq!(library("\tlibm.so.6 => /lib/x/libm.so.6 (0x00007f)"), Some("/lib/x/libm.so.6"));
        assert_eq!(library("\t/lib64/ld-linux-x86-64.so.2 (0x00007f)"), Some("/lib64/ld-linux-x86-64.so.2"));
        assert_eq!(library("\tlibx.so => not found"), None);
        assert_eq!(library("\tstatically linked"), None);
    }

    #[test]
    fn the_same_programs_give_the_same_images() {
        let dir = tempfile::tempdir().unwrap();
        for file in [ALL_IN_ONE, "node-byzantine"] {
            fs::copy("/bin/true", dir.path().join(file)).unwrap();
        }
        let programs: BTreeSet<&str> = PROGRAMS.into_iter().chain(["node-byzantine"]).collect();
        let build = || Built::new(dir.path(), &programs).unwrap();
        let (one, two) = (build(), build());
        assert_eq!(one.archive(), two.archive());
        assert_eq!(one.layers().len(), 2, "all programs but node-byzantine are one layer");
        fs::copy("/bin/false", dir.path().join(ALL_IN_ONE)).unwrap();
        let other = build();
        assert_ne!(one.names()["node"], other.names()["node"]);
        assert_eq!(one.names()["node-byzantine"], other.names()["node-byzantine"]);
    }
}
