//! cng.sys as a driver finds it.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod model;

use std::path::PathBuf;

use model::{Bench, compile_ddk_with, import_library, lines};
use ntbench::NtStatus;

/// Every function of it that the driver imports.
const NAMES: [&str; 19] = [
    "BCryptCloseAlgorithmProvider",
    "BCryptCreateHash",
    "BCryptDecrypt",
    "BCryptDeriveKeyPBKDF2",
    "BCryptDestroyHash",
    "BCryptDestroyKey",
    "BCryptDuplicateHash",
    "BCryptDuplicateKey",
    "BCryptEncrypt",
    "BCryptExportKey",
    "BCryptFinishHash",
    "BCryptGenRandom",
    "BCryptGenerateSymmetricKey",
    "BCryptGetProperty",
    "BCryptHash",
    "BCryptHashData",
    "BCryptImportKey",
    "BCryptOpenAlgorithmProvider",
    "BCryptSetProperty",
];

fn image(dll: &str, defines: &[&str]) -> PathBuf {
    let library = import_library(dll, &NAMES);
    compile_ddk_with("crypto", defines, &[&library.display().to_string()])
}

#[test]
fn published_vectors_come_out_and_nothing_is_left() {
    for dll in ["cng.sys", "ksecdd.sys"] {
        let bench = Bench::new();
        assert_eq!(bench.load(image(dll, &[])), NtStatus::SUCCESS);
        assert_eq!(lines(&bench.trace()), ["179 checks"]);
        assert_eq!(
            bench.machine.unload_driver("crypto").unwrap(),
            NtStatus::SUCCESS
        );
        let report = bench.end();
        assert!(report.findings.is_empty(), "{:?}", report.findings);
    }
}

#[test]
fn what_the_reference_forbids_is_named() {
    let rules = [
        "cng-leak",
        "cng-handle",
        "cng-object-memory",
        "irql",
        "refused",
    ];
    for (defect, rule) in (1..).zip(rules) {
        let bench = Bench::new();
        let image = image("cng.sys", &[&format!("DEFECT={defect}")]);
        assert_eq!(bench.load(image), NtStatus::SUCCESS, "{rule}");
        bench.machine.unload_driver("crypto").unwrap();
        let report = bench.end();
        let found = report.findings.iter().map(|finding| finding.rule.as_str());
        // A provider and its key.
        let expected = vec![rule; if defect == 1 { 2 } else { 1 }];
        assert_eq!(found.collect::<Vec<_>>(), expected);
    }
}
