//! [Version], and the text as a whole.

use super::{Findings, PRIMITIVE};
use crate::{
    document::{Inf, same},
    error::Position,
    text::Encoding,
};

pub(super) fn check(inf: &Inf, findings: &mut Findings) {
    if matches!(inf.encoding, Encoding::Utf8 | Encoding::Utf8Marked) {
        findings.error(
            1003,
            Position::START,
            "the file is UTF-8, and has to be ANSI or UTF-16LE".to_owned(),
        );
    }
    for (at, name) in &inf.undefined_tokens {
        let message =
            format!("string token `{name}` is not in [Strings]; a literal % is written %%");
        findings.error(1235, *at, message);
    }
    let Some(version) = inf.section("Version") else {
        return findings.error(
            1001,
            Position::START,
            "expected a section [Version] with Signature = \"$Windows NT$\"".to_owned(),
        );
    };
    let value = |key: &str| {
        let entry = version.directive(key)?;
        Some((entry.at, entry.field(0)?.text.as_str()))
    };
    if !value("Signature").is_some_and(|(_, text)| same(text, "$Windows NT$")) {
        findings.error(
            1001,
            version.at,
            "expected Signature = \"$Windows NT$\" in [Version]".to_owned(),
        );
    }
    for key in ["Class", "ClassGuid", "Provider"] {
        if value(key).is_none() {
            findings.page(
                PRIMITIVE,
                version.at,
                format!("expected {key} = … in [Version], which must be complete"),
            );
        }
    }
    if let Some((at, _)) = value("Provider").filter(|(_, name)| same(name, "Microsoft")) {
        findings.error(
            1204,
            at,
            "Provider is Microsoft, and has to be who wrote the INF".to_owned(),
        );
    }
    if value("CatalogFile").is_none() && value("CatalogFile.NT").is_none() {
        findings.error(
            1233,
            version.at,
            "expected CatalogFile = …: without a catalog a package cannot be signed".to_owned(),
        );
    }
    if value("PnpLockdown").is_none_or(|(_, text)| text != "1") {
        findings.error(
            1324,
            version.at,
            "expected PnpLockdown = 1, which keeps others from changing the installed files"
                .to_owned(),
        );
    }
    driver_ver(inf, findings);
}

fn driver_ver(inf: &Inf, findings: &mut Findings) {
    let Some(version) = inf.section("Version") else {
        return;
    };
    let Some(entry) = version.directive("DriverVer") else {
        return findings.error(
            1217,
            version.at,
            "expected DriverVer = mm/dd/yyyy,w.x.y.z".to_owned(),
        );
    };
    if !is_date(entry.text(0)) {
        findings.error(
            1217,
            entry.at,
            format!("`{}` is no date: expected mm/dd/yyyy", entry.text(0)),
        );
    }
    if !is_version(entry.text(1)) {
        findings.error(
            1217,
            entry.at,
            format!(
                "`{}` is no version: expected w.x.y.z, each up to 65535",
                entry.text(1)
            ),
        );
    }
}

fn is_date(text: &str) -> bool {
    let numbers: Option<Vec<u32>> = text
        .split(['/', '-'])
        .map(|part| part.parse().ok())
        .collect();
    matches!(numbers.as_deref(), Some([1..=12, 1..=31, 1980..=9999]))
}

fn is_version(text: &str) -> bool {
    let numbers: Option<Vec<u16>> = text.split('.').map(|part| part.parse().ok()).collect();
    numbers.is_some_and(|numbers| numbers.len() == 4)
}
