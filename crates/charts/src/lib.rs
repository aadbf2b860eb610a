//! The script that draws charts in our pages: plotly.min.js, for the demo app and for reports.
//!
//! The `plotly` crate embeds it together with MathJax, each in a script tag; ours is the first script alone.

use std::sync::LazyLock;

/// plotly.min.js, without script tags.
pub static PLOTLY: LazyLock<String> = LazyLock::new(|| {
    let both = plotly::Plot::offline_js_sources();
    let open = "<script type=\"text/javascript\">";
    let start = both.find(open).expect("the crate embeds scripts") + open.len();
    // the second script's tag follows the first one's end
    let next = both.rfind(open).expect("the crate embeds two scripts");
    let end = both[..next].rfind("</script>").expect("the first script ends");
    assert!(start < end, "the crate embeds plotly first");
    both[start..end].to_owned()
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plotly_comes_alone() {
        assert!(PLOTLY.trim_start().starts_with("/**\n* plotly.js v"), "{}", &PLOTLY[..80]);
        assert!(PLOTLY.trim_end().ends_with("return Plotly;\n}));"));
        assert!((4_000_000..5_500_000).contains(&PLOTLY.len()), "{}", PLOTLY.len());
    }
}
