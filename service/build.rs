//! Lists the files of `pages/`, so that each is built into the program.

use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

fn main() {
    println!("cargo:rerun-if-changed=pages");
    let dir = Path::new(&env::var("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("pages");
    let mut names: Vec<String> = match fs::read_dir(&dir) {
        Ok(entries) => entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect(),
        Err(_) => Vec::new(),
    };
    names.retain(|name| [".html", ".js", ".css", ".svg", ".json"].iter().any(|end| name.ends_with(end)));
    names.sort();
    let mut text = String::from("/// Names and texts.\nconst FILES: &[(&str, &str)] = &[\n");
    for name in names {
        let path = dir.join(&name);
        println!("cargo:rerun-if-changed={}", path.display());
        writeln!(text, "    ({name:?}, include_str!({path:?})),").expect("writing to a string");
    }
    text.push_str("];\n");
    let out = Path::new(&env::var("OUT_DIR").expect("cargo sets it")).join("pages.rs");
    fs::write(out, text).expect("OUT_DIR is writable");
}
