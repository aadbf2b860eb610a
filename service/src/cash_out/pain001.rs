//! The payout order as ISO 20022 `pain.001.001.03` (SEPA credit transfer), one transfer per message.

use std::io;

use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesText, Event};

/// The message's namespace.
pub const NAMESPACE: &str = "urn:iso:std:iso:20022:tech:xsd:pain.001.001.03";

/// Whose account payouts leave.
#[derive(Debug, Clone)]
pub struct Debtor {
    /// Name.
    pub name: String,
    /// IBAN.
    pub iban: String,
    /// BIC of its bank.
    pub bic: String,
}

/// One payout.
#[derive(Debug, Clone, Copy)]
pub struct Transfer<'a> {
    /// The redeem's txid.
    pub txid: &'a str,
    /// How much.
    pub cents: u64,
    /// Payee's name.
    pub holder: &'a str,
    /// Payee's IBAN.
    pub iban: &'a str,
    /// When the order is made.
    pub now_us: u64,
}

type Xml = Writer<Vec<u8>>;

fn text(xml: &mut Xml, name: &str, value: &str) -> io::Result<()> {
    xml.create_element(name).write_text_content(BytesText::new(value)).map(|_| ())
}

fn nested(xml: &mut Xml, name: &str, content: impl FnOnce(&mut Xml) -> io::Result<()>) -> io::Result<()> {
    xml.create_element(name).write_inner_content(content).map(|_| ())
}

/// The message.
///
/// # Panics
/// Never: writing into memory does not fail.
pub fn message(debtor: &Debtor, transfer: &Transfer<'_>) -> String {
    let mut xml = Writer::new_with_indent(Vec::new(), b' ', 2);
    write(&mut xml, debtor, transfer).expect("writing into memory");
    String::from_utf8(xml.into_inner()).expect("made from text")
}

fn write(xml: &mut Xml, debtor: &Debtor, transfer: &Transfer<'_>) -> io::Result<()> {
    // identifiers have at most 35 characters
    let id = &transfer.txid[..32];
    let amount = format!("{}.{:02}", transfer.cents / 100, transfer.cents % 100);
    let seconds = i64::try_from(transfer.now_us / 1_000_000).unwrap_or(i64::MAX);
    let now = jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    let day = jiff::tz::TimeZone::UTC.to_datetime(now).date();
    xml.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    let document = xml.create_element("Document").with_attribute(("xmlns", NAMESPACE));
    let inner = |xml: &mut Xml| {
        nested(xml, "CstmrCdtTrfInitn", |xml| {
            nested(xml, "GrpHdr", |xml| {
                text(xml, "MsgId", id)?;
                text(xml, "CreDtTm", &now.to_string())?;
                text(xml, "NbOfTxs", "1")?;
                text(xml, "CtrlSum", &amount)?;
                nested(xml, "InitgPty", |xml| text(xml, "Nm", &debtor.name))
            })?;
            nested(xml, "PmtInf", |xml| {
                text(xml, "PmtInfId", id)?;
                text(xml, "PmtMtd", "TRF")?;
                text(xml, "NbOfTxs", "1")?;
                text(xml, "CtrlSum", &amount)?;
                nested(xml, "PmtTpInf", |xml| nested(xml, "SvcLvl", |xml| text(xml, "Cd", "SEPA")))?;
                text(xml, "ReqdExctnDt", &day.to_string())?;
                nested(xml, "Dbtr", |xml| text(xml, "Nm", &debtor.name))?;
                nested(xml, "DbtrAcct", |xml| nested(xml, "Id", |xml| text(xml, "IBAN", &debtor.iban)))?;
                nested(xml, "DbtrAgt", |xml| nested(xml, "FinInstnId", |xml| text(xml, "BIC", &debtor.bic)))?;
                text(xml, "ChrgBr", "SLEV")?;
                nested(xml, "CdtTrfTxInf", |xml| {
                    nested(xml, "PmtId", |xml| text(xml, "EndToEndId", id))?;
                    nested(xml, "Amt", |xml| {
                        let element = xml.create_element("InstdAmt").with_attribute(("Ccy", "EUR"));
                        element.write_text_content(BytesText::new(&amount)).map(|_| ())
                    })?;
                    nested(xml, "Cdtr", |xml| text(xml, "Nm", transfer.holder))?;
                    nested(xml, "CdtrAcct", |xml| nested(xml, "Id", |xml| text(xml, "IBAN", transfer.iban)))?;
                    nested(xml, "RmtInf", |xml| text(xml, "Ustrd", &format!("shardpay {}", transfer.txid)))
                })
            })
        })
    };
    document.write_inner_content(inner).map(|_| ())
}
