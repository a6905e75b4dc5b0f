//! What Windows, or good sense, demands of a driver's image.

use object::pe::{
    IMAGE_DLLCHARACTERISTICS_DYNAMIC_BASE as DYNAMIC_BASE,
    IMAGE_DLLCHARACTERISTICS_FORCE_INTEGRITY as FORCE_INTEGRITY,
    IMAGE_DLLCHARACTERISTICS_GUARD_CF as GUARD_CF,
    IMAGE_DLLCHARACTERISTICS_HIGH_ENTROPY_VA as HIGH_ENTROPY_VA,
    IMAGE_DLLCHARACTERISTICS_NX_COMPAT as NX_COMPAT, IMAGE_FILE_MACHINE_AMD64,
    IMAGE_SCN_MEM_DISCARDABLE, IMAGE_SCN_MEM_EXECUTE, IMAGE_SCN_MEM_WRITE, IMAGE_SUBSYSTEM_NATIVE,
};

use inf::OsVersion;
use versioninfo::{Kind, STRINGS};

use super::{Image, allowed, report};

/// What memory that the hypervisor protects is mapped in.
const PAGE: u32 = 0x1000;

impl Image {
    /// Every rule that the image breaks, each as a sentence.
    pub(crate) fn broken_rules(&self) -> Vec<String> {
        let mut broken = Vec::new();
        let mut rule = |holds: bool, text: String| {
            if !holds {
                broken.push(text);
            }
        };
        rule(
            self.machine == IMAGE_FILE_MACHINE_AMD64,
            format!("the machine is {:#06x}, not x64", self.machine),
        );
        rule(
            self.subsystem == IMAGE_SUBSYSTEM_NATIVE,
            format!("the subsystem is {}, not native", self.subsystem),
        );
        rule(
            self.checksum == self.computed_checksum,
            format!(
                "the header's checksum is {:#010x}, the file's {:#010x}; Windows does not load a driver whose checksum is wrong",
                self.checksum, self.computed_checksum
            ),
        );
        for (bit, why) in [
            (DYNAMIC_BASE, "the kernel relocates every driver"),
            (NX_COMPAT, "data must not be executable"),
            (HIGH_ENTROPY_VA, "the image must accept any 64-bit base"),
            (
                FORCE_INTEGRITY,
                "an unsigned or altered copy must not load; callback registration demands it",
            ),
        ] {
            let name = report::dll_characteristics(bit).join(" ");
            rule(
                self.dll_characteristics & bit != 0,
                format!("{name} is not set: {why}"),
            );
        }
        rule(
            self.relocations,
            "there are no base relocations, so the image cannot be loaded".to_owned(),
        );
        rule(self.entry != 0, "there is no entry point".to_owned());
        if let Some(pdb) = &self.pdb {
            rule(
                !pdb.contains(['/', '\\']),
                format!("the .pdb is named with a path of the building machine: {pdb}"),
            );
        }
        rule(
            self.section_alignment != 0 && self.section_alignment.is_multiple_of(PAGE),
            format!(
                "sections are aligned to {:#x}, not to pages: with memory integrity (HVCI) on, Windows does not load the image",
                self.section_alignment
            ),
        );
        let instrumented = self.load_config.is_some_and(|config| config.is_guarded());
        rule(
            self.dll_characteristics & GUARD_CF == 0 || instrumented,
            "GUARD_CF is set, and the load configuration names no guarded functions".to_owned(),
        );
        for section in &self.sections {
            rule(
                section.address.is_multiple_of(PAGE),
                format!(
                    "section {} begins at {:#x}, in the middle of a page",
                    section.name, section.address
                ),
            );
            let has = |bit| section.characteristics & bit != 0;
            let name = &section.name;
            rule(
                !(has(IMAGE_SCN_MEM_WRITE) && has(IMAGE_SCN_MEM_EXECUTE)),
                format!("section {name} is writable and executable"),
            );
            rule(
                name != "INIT" || has(IMAGE_SCN_MEM_DISCARDABLE),
                format!(
                    "section {name} is not discardable: what runs only in DriverEntry would stay in memory"
                ),
            );
        }
        self.judge_version(&mut rule);
        self.judge_imports(&mut rule);
        broken
    }

    fn judge_version(&self, rule: &mut dyn FnMut(bool, String)) {
        let info = match &self.version {
            Some(Ok(info)) => info,
            Some(Err(error)) => return rule(false, error.to_string()),
            None => {
                return rule(
                    false,
                    "there is no version resource: nothing tells this build from another one"
                        .to_owned(),
                );
            }
        };
        rule(
            info.kind == Kind::Driver,
            "the version resource is that of a program, not of a driver".to_owned(),
        );
        for name in STRINGS {
            rule(
                info.string(name).is_some_and(|value| !value.is_empty()),
                format!("the version resource has no {name}"),
            );
        }
        let [a, b, c, d] = info.version;
        let numbers = format!("{a}.{b}.{c}.{d}");
        rule(
            info.string("FileVersion")
                .is_none_or(|text| text == numbers),
            format!("FileVersion is not {numbers}, as the numbers beside it say"),
        );
    }

    /// The oldest Windows that has everything the image imports, and one import that decides it.
    pub(crate) fn oldest_windows(&self) -> Option<(OsVersion, &str)> {
        let imports = self.imports.iter().flat_map(|imports| {
            let list = allowed::list(&imports.dll);
            imports.names.iter().filter_map(move |name| {
                let since = list?.export(name)?.since?;
                Some((since, name.as_str()))
            })
        });
        imports.max_by_key(|(since, _)| *since)
    }

    fn judge_imports(&self, rule: &mut dyn FnMut(bool, String)) {
        rule(
            !self.imports.is_empty(),
            "nothing is imported: this is no driver".to_owned(),
        );
        for imports in &self.imports {
            let Some(list) = allowed::list(&imports.dll) else {
                rule(
                    false,
                    format!(
                        "{} is imported, which is not a module of the kernel that is allowed ({})",
                        imports.dll,
                        imports.names.join(" ")
                    ),
                );
                continue;
            };
            for name in &imports.names {
                let export = list.export(name);
                rule(
                    export.as_ref().is_none_or(|export| export.since.is_some()),
                    format!(
                        "{name} is imported from {}, and nobody wrote into xtask/assets/imports/{}.txt since which Windows it is there",
                        imports.dll, list.dll
                    ),
                );
                rule(
                    export.is_some(),
                    format!(
                        "{name} is imported from {}, and is not in xtask/assets/imports/{}.txt",
                        imports.dll, list.dll
                    ),
                );
            }
        }
    }
}
