//! The reader of version resources.

use versioninfo::{Kind, Product, VersionInfo};

use crate::corpus::Seed;

pub(super) fn seeds() -> Vec<Seed> {
    let product = Product {
        name: "Product",
        company: "Company",
        description: "A description",
        copyright: "(c)",
    };
    vec![
        Seed::new(
            "driver",
            VersionInfo::new(Kind::Driver, "a.sys", "1.2.3", &product).to_resource(),
        ),
        Seed::new(
            "program",
            VersionInfo::new(Kind::Application, "b.exe", "4.5.6-pre", &product).to_resource(),
        ),
    ]
}

/// What was read is written as something that reads the same.
pub(super) fn check(input: &[u8]) {
    match VersionInfo::parse(input) {
        Ok(info) => {
            let _ = info.string("FileVersion");
            let again = VersionInfo::parse(&info.to_resource());
            assert_eq!(again.as_ref(), Ok(&info));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
