//! Payout orders against the schema of ISO 20022 pain.001.001.03, as the PyPI package `sepaxml` carries it, by
//! xmllint. Both are fetched by `./shardpay test`; SEPAXML_XSD names the file. Without them the test fails and says so.

use std::path::PathBuf;
use std::process::Command;

use shardpay_service::cash_out::pain001::{Debtor, Transfer, message};

/// The schema: SEPAXML_XSD, or the installed package's.
fn schema() -> Option<PathBuf> {
    if let Ok(path) = std::env::var("SEPAXML_XSD") {
        return Some(PathBuf::from(path));
    }
    let script =
        "import os, sepaxml; print(os.path.join(os.path.dirname(sepaxml.__file__), 'schemas/pain.001.001.03.xsd'))";
    let output = Command::new("python3").args(["-c", script]).output().ok()?;
    let path = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim());
    path.is_file().then_some(path)
}

fn valid(schema: &std::path::Path, xml: &str) -> bool {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("order.xml");
    std::fs::write(&path, xml).unwrap();
    let output = Command::new("xmllint").arg("--noout").arg("--nonet").arg("--schema").arg(schema).arg(&path).output();
    let output = output.expect("xmllint (Debian: libxml2-utils) runs");
    if !output.status.success() {
        println!("{}", String::from_utf8_lossy(&output.stderr));
    }
    output.status.success()
}

#[test]
fn payout_orders_fit_the_schema() {
    let schema =
        schema().expect("the XSD of PyPI's sepaxml: SEPAXML_XSD, or pip install sepaxml; ./shardpay test fetches it");
    let debtor = Debtor {
        name: "shardpay sandbox".to_owned(),
        iban: "DE89370400440532013000".to_owned(),
        bic: "COBADEFFXXX".to_owned(),
    };
    let txid = "0123456789abcdef".repeat(4);
    for (cents, holder) in [(1, "A"), (500_000, "Ann O'Neil + Sons (2)"), (99_999_999_999, &"x".repeat(70))] {
        let transfer =
            Transfer { txid: &txid, cents, holder, iban: "NL91ABNA0417164300", now_us: 1_800_000_000_123_456 };
        let xml = message(&debtor, &transfer);
        assert!(valid(&schema, &xml), "{xml}");
        assert!(!valid(&schema, &xml.replace("<PmtMtd>TRF</PmtMtd>", "")), "the schema is looked at");
    }
}
