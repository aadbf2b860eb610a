//! The figures of a page as SVG files, drawn by a headless Chromium.

use std::path::{Path, PathBuf};

use crate::browser::{Browser, BrowserError, Window};

use super::page::Written;

/// Why figures are not drawn.
#[derive(Debug, thiserror::Error)]
pub enum SvgError {
    /// The browser.
    #[error(transparent)]
    Browser(#[from] BrowserError),
    /// A file.
    #[error(transparent)]
    File(#[from] shardpay_run::RunError),
    /// The page does not work.
    #[error("{}: {what}", page.display())]
    Page {
        /// The page.
        page: PathBuf,
        /// What is wrong.
        what: String,
    },
}

/// What is seen of a page.
pub const WINDOW: Window = Window { width: 1_000, height: 900, dark: false };

/// Opens a page of figures and waits until all are drawn.
pub fn open(browser: &mut Browser, page: &Path, window: Window) -> Result<(), BrowserError> {
    browser.open(page, window)?;
    browser.until("document.documentElement.dataset.drawn !== undefined")
}

/// Writes `ID.svg` beside the page for each of its figures; the files.
pub fn write(written: &Written) -> Result<Vec<PathBuf>, SvgError> {
    let broken = |what: String| SvgError::Page { page: written.page.clone(), what };
    let mut browser = Browser::start()?;
    open(&mut browser, &written.page, WINDOW)?;
    let mut files = Vec::new();
    for id in &written.figures {
        let svg = browser.evaluate(&format!("reportSvg({})", serde_json::Value::from(id.as_str())))?;
        let svg =
            svg.as_str().filter(|text| text.starts_with("<svg")).ok_or_else(|| broken(format!("{id} gives no SVG")))?;
        let file = written.page.with_file_name(format!("{id}.svg"));
        shardpay_run::write_whole(&file, svg.as_bytes())?;
        files.push(file);
    }
    match browser.complaints().first() {
        None => Ok(files),
        Some(complaint) => Err(broken(complaint.clone())),
    }
}
