//! What a driver may import: plain lists of names, which the import libraries are made from and which finished images are checked against.

use inf::OsVersion;

/// The exports of one module that a driver may import.
pub(crate) struct List {
    /// The module's name as it stands in an image.
    pub(crate) dll: &'static str,
    /// The import library to make from it, if the driver is linked with one.
    pub(crate) library: Option<&'static str>,
    /// The list: a name a line, `DATA` after the name of a variable, then the oldest Windows that has it; `#` for comments.
    pub(crate) text: &'static str,
}

/// Every list.
pub(crate) const LISTS: [List; 3] = [
    List {
        dll: "ntoskrnl.exe",
        library: Some("ntoskrnl"),
        text: include_str!("../../assets/imports/ntoskrnl.exe.txt"),
    },
    List {
        dll: "HAL.dll",
        library: Some("hal"),
        text: include_str!("../../assets/imports/HAL.dll.txt"),
    },
    List {
        dll: "FLTMGR.SYS",
        library: None,
        text: include_str!("../../assets/imports/FLTMGR.SYS.txt"),
    },
];

/// An export that may be imported.
pub(crate) struct Export {
    pub(crate) name: &'static str,
    /// Whether it is a variable.
    pub(crate) data: bool,
    /// The oldest Windows that has it, where somebody has looked that up.
    pub(crate) since: Option<OsVersion>,
}

impl List {
    /// The exports. A line that is not understood is an export that no image has.
    pub(crate) fn exports(&self) -> impl Iterator<Item = Export> {
        self.text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .filter_map(|line| {
                let mut words = line.split_whitespace().peekable();
                Some(Export {
                    name: words.next()?,
                    data: words.next_if_eq(&"DATA").is_some(),
                    since: words.next().and_then(version),
                })
            })
    }

    /// The lines of a module definition file.
    pub(crate) fn lines(&self) -> impl Iterator<Item = String> {
        self.exports().map(|export| {
            let data = if export.data { " DATA" } else { "" };
            format!("{}{data}", export.name)
        })
    }

    /// What the list says of `name`.
    pub(crate) fn export(&self, name: &str) -> Option<Export> {
        self.exports().find(|export| export.name == name)
    }
}

fn version(text: &str) -> Option<OsVersion> {
    let mut numbers = text.split('.').map(|number| number.parse().ok());
    Some(OsVersion {
        major: numbers.next()??,
        minor: numbers.next()??,
        build: numbers.next()??,
    })
}

/// The list for a module, whose name Windows compares without regard to case.
pub(crate) fn list(dll: &str) -> Option<&'static List> {
    LISTS.iter().find(|list| list.dll.eq_ignore_ascii_case(dll))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(dll: &str, name: &str) -> bool {
        list(dll).is_some_and(|list| list.export(name).is_some())
    }

    #[test]
    fn lists_hold_what_the_driver_stands_on_and_nothing_twice() {
        assert!(allows("ntoskrnl.exe", "KeExpandKernelStackAndCalloutEx"));
        assert!(allows("NTOSKRNL.EXE", "IoFileObjectType"), "a variable");
        assert!(allows("fltmgr.sys", "FltRegisterFilter"));
        assert!(!allows("fltmgr.sys", "FltNoSuchThing"));
        assert!(!allows("kernel32.dll", "DbgPrint"));
        for list in LISTS {
            let mut names: Vec<_> = list.exports().map(|export| export.name).collect();
            let all = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), all, "{} names something twice", list.dll);
        }
    }

    #[test]
    fn every_line_is_a_name_and_at_most_data_and_a_version() {
        for list in LISTS {
            let lines = list.text.lines().map(str::trim);
            let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
            for (line, export) in lines.zip(list.exports()) {
                let words = line.split_whitespace().count();
                let understood = 1 + usize::from(export.data) + usize::from(export.since.is_some());
                assert_eq!(words, understood, "{}: {line}", list.dll);
                assert!(!export.name.contains('.'), "{line}");
            }
        }
        let pool = list("ntoskrnl.exe").unwrap().export("ExAllocatePool2");
        assert_eq!(pool.unwrap().since, Some(OsVersion::build(19_041)));
    }
}
