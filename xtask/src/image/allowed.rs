//! What a driver may import: plain lists of names, which the import libraries are made from and which finished images are checked against.

/// The exports of one module that a driver may import.
pub(crate) struct List {
    /// The module's name as it stands in an image.
    pub(crate) dll: &'static str,
    /// The import library to make from it, if the driver is linked with one.
    pub(crate) library: Option<&'static str>,
    /// The list: a name a line, `DATA` after the name of a variable, `#` for comments.
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

impl List {
    /// The lines that name an export.
    pub(crate) fn lines(&self) -> impl Iterator<Item = &'static str> {
        self.text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
    }

    /// Whether `name` is listed.
    pub(crate) fn allows(&self, name: &str) -> bool {
        self.lines()
            .any(|line| line.split_whitespace().next() == Some(name))
    }
}

/// The list for a module, whose name Windows compares without regard to case.
pub(crate) fn list(dll: &str) -> Option<&'static List> {
    LISTS.iter().find(|list| list.dll.eq_ignore_ascii_case(dll))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_hold_what_the_driver_stands_on_and_nothing_twice() {
        assert!(
            list("ntoskrnl.exe")
                .unwrap()
                .allows("KeExpandKernelStackAndCalloutEx")
        );
        assert!(
            list("NTOSKRNL.EXE").unwrap().allows("IoFileObjectType"),
            "a variable"
        );
        assert!(list("fltmgr.sys").unwrap().allows("FltRegisterFilter"));
        assert!(!list("fltmgr.sys").unwrap().allows("FltNoSuchThing"));
        assert!(list("kernel32.dll").is_none());
        for list in LISTS {
            let mut names: Vec<_> = list.lines().collect();
            let all = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), all, "{} names something twice", list.dll);
            assert!(
                names.iter().all(|name| matches!(
                    name.split(' ').collect::<Vec<_>>()[..],
                    [_] | [_, "DATA"]
                )),
                "{}",
                list.dll
            );
        }
    }
}
