//! What makes a service a minifilter's.

use super::{ALTITUDES, Findings, ISOLATED, Install, MINIFILTER};
use crate::{
    Architecture,
    document::{Inf, same},
    error::{ErrorKind, Position},
    minifilter::{Service, minifilter},
};

/// Load order groups, their altitudes, and the name and identifier of the class that goes with each ("File System Filter Driver Classes and
/// Class GUIDs").
const GROUPS: [(&str, (u32, u32), &str, &str); 6] = [
    (
        "FSFilter Activity Monitor",
        (360_000, 389_999),
        "ActivityMonitor",
        "{b86dff51-a31e-4bac-b3cf-e8cfe75c9fc2}",
    ),
    (
        "FSFilter Undelete",
        (340_000, 349_999),
        "Undelete",
        "{fe8f1572-c67a-48c0-bbac-0b5c6d66cafb}",
    ),
    (
        "FSFilter Anti-Virus",
        (320_000, 329_999),
        "AntiVirus",
        "{b1d1a169-c54f-4379-81db-bee7d88d7454}",
    ),
    (
        "FSFilter Replication",
        (300_000, 309_999),
        "Replication",
        "{48d3ebc4-4cf8-48ff-b869-9c68ad42eb9f}",
    ),
    (
        "FSFilter Content Screener",
        (260_000, 269_999),
        "ContentScreener",
        "{3e3f0674-c83c-4558-bb26-9820e1eba5c5}",
    ),
    (
        "FSFilter Encryption",
        (140_000, 149_999),
        "Encryption",
        "{a0a701c0-a511-42ff-aa6c-06dc0395576f}",
    ),
];

pub(super) fn check(inf: &Inf, install: &Install<'_>, findings: &mut Findings) {
    let architecture = install
        .decoration
        .architecture
        .unwrap_or(Architecture::Amd64);
    let service = match minifilter(inf, architecture, install.newest.build) {
        Ok(service) => service,
        Err(error) => {
            let altitude = matches!(error.kind, ErrorKind::Altitude(_));
            let page = if altitude { ALTITUDES } else { MINIFILTER };
            return findings.page(page, error.at, error.kind.to_string());
        }
    };
    let at = install
        .services(inf)
        .first()
        .map_or(install.section.at, |(_, section)| section.at);
    if !service.dependencies.iter().any(|name| same(name, "FltMgr")) {
        findings.page(MINIFILTER, at, "expected Dependencies = FltMgr".to_owned());
    }
    if service.error_control != 1 {
        let message = format!(
            "ErrorControl is {}, and should be 1 (normal)",
            service.error_control
        );
        findings.page(MINIFILTER, at, message);
    }
    instances_key(install, &service, at, findings);
    group(inf, &service, at, findings);
}

/// Filter Manager looks for instances in one place or the other.
fn instances_key(install: &Install<'_>, service: &Service, at: Position, findings: &mut Findings) {
    let below_parameters = !same(&service.instances_key, "Instances");
    if below_parameters && install.decoration.version < ISOLATED {
        findings.error(
            1199,
            at,
            format!(
                "instances below Parameters are known from Windows {ISOLATED} on, and [{}] installs on {}",
                install.section.name, install.decoration.version
            ),
        );
    }
}

fn group(inf: &Inf, service: &Service, at: Position, findings: &mut Findings) {
    let Some(group) = &service.load_order_group else {
        return findings.page(MINIFILTER, at, "expected LoadOrderGroup = …".to_owned());
    };
    let known = GROUPS.iter().find(|(name, ..)| same(name, group));
    let Some((_, (low, high), class, guid)) = known else {
        let message =
            format!("load order group `{group}` is none that this knows for a minifilter");
        return findings.page(ALTITUDES, at, message);
    };
    for instance in &service.instances {
        let whole = instance.altitude.split('.').next().unwrap_or_default();
        if !whole
            .parse()
            .is_ok_and(|number: u32| (*low..=*high).contains(&number))
        {
            let message = format!(
                "altitude {} of instance `{}` is not in {low}-{high}, the range of {group}",
                instance.altitude, instance.name
            );
            findings.page(ALTITUDES, at, message);
        }
    }
    for (key, expected) in [("Class", class), ("ClassGuid", guid)] {
        if let Some(field) = inf
            .value("Version", key)
            .filter(|field| !same(&field.text, expected))
        {
            let message = format!("{key} is {}, and that of {group} is {expected}", field.text);
            findings.page(MINIFILTER, field.at, message);
        }
    }
}
