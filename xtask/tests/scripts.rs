//! The scripts for a test machine, read with a grammar of PowerShell: what can be said of them where none runs.
//!
//! Not seen here: whether a cmdlet takes the parameters it is given, and what any of it does.

use std::{collections::BTreeSet, fs, path::PathBuf};

use tree_sitter::{Node, Parser};

/// Cmdlets that both Windows PowerShell 5.1 and PowerShell 7 have on Windows, as far as the scripts use them.
const CMDLETS: &[&str] = &[
    "Add-Type",
    "Confirm-SecureBootUEFI",
    "ConvertFrom-Json",
    "ConvertTo-Json",
    "Copy-Item",
    "Export-ModuleMember",
    "Format-List",
    "Get-AuthenticodeSignature",
    "Get-ChildItem",
    "Get-CimInstance",
    "Get-Content",
    "Get-Date",
    "Get-FileHash",
    "Get-Item",
    "Get-ItemProperty",
    "Get-Location",
    "Get-Service",
    "Get-WinEvent",
    "Import-Certificate",
    "Import-Module",
    "Join-Path",
    "Move-Item",
    "New-Item",
    "New-Object",
    "Out-File",
    "Out-Null",
    "Out-String",
    "Remove-Item",
    "Remove-ItemProperty",
    "Resolve-Path",
    "Select-Object",
    "Select-String",
    "Set-Content",
    "Set-ItemProperty",
    "Set-StrictMode",
    "Sort-Object",
    "Split-Path",
    "Start-Process",
    "Test-Path",
    "Where-Object",
    "Write-Host",
];

/// A script, and what is wrong with it.
struct Script {
    name: String,
    text: String,
}

fn scripts() -> Vec<Script> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../scripts");
    let mut scripts: Vec<Script> = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "ps1" || extension == "psm1")
        })
        .map(|path| Script {
            name: path.file_name().unwrap().to_string_lossy().into_owned(),
            text: fs::read_to_string(&path).unwrap(),
        })
        .collect();
    scripts.sort_by(|a, b| a.name.cmp(&b.name));
    scripts
}

impl Script {
    fn visit(&self, mut look: impl FnMut(Node<'_>, &str)) {
        let mut parser = Parser::new();
        parser
            .set_language(&tree_sitter_powershell::LANGUAGE.into())
            .unwrap();
        let tree = parser.parse(&self.text, None).unwrap();
        let mut open = vec![tree.root_node()];
        while let Some(node) = open.pop() {
            look(node, &self.text[node.byte_range()]);
            let mut cursor = node.walk();
            open.extend(node.children(&mut cursor));
        }
    }

    /// What the grammar does not know, and what Windows PowerShell 5.1 lacks.
    fn mistakes(&self) -> Vec<String> {
        let mut mistakes = Vec::new();
        let mut note =
            |row: usize, what: String| mistakes.push(format!("{}:{}: {what}", self.name, row + 1));
        for (row, line) in self.text.lines().enumerate() {
            if !line.is_ascii() {
                note(row, "not ASCII: Windows PowerShell reads a file without a mark in the system's code page".to_owned());
            }
        }
        self.visit(|node, text| {
            let row = node.start_position().row;
            if node.is_missing() {
                note(row, format!("`{}` is missing", node.kind()));
            } else if node.is_error() {
                note(
                    row,
                    format!(
                        "not PowerShell: {}",
                        text.lines().next().unwrap_or_default()
                    ),
                );
            } else if node.kind() == "try_statement" && node.named_child_count() < 2 {
                note(row, "try needs catch or finally".to_owned());
            } else if node.kind() == "pipeline_chain_tail" {
                note(row, format!("Windows PowerShell 5.1 has no chains: {text}"));
            } else if node.kind() == "expandable_string_literal"
                && ["`a", "`c", "`f", "`p", "`s"]
                    .iter()
                    .any(|escape| text.contains(escape))
            {
                note(
                    row,
                    format!("a backtick in a string is an escape, not a quotation mark: {text}"),
                );
            }
        });
        mistakes
    }

    /// The names of what the script calls and of the functions that it has.
    fn calls_and_functions(&self) -> (BTreeSet<String>, BTreeSet<String>) {
        let (mut calls, mut functions) = (BTreeSet::new(), BTreeSet::new());
        self.visit(|node, text| match node.kind() {
            "command_name" => drop(calls.insert(text.to_owned())),
            "function_name" => drop(functions.insert(text.to_owned())),
            _ => {}
        });
        (calls, functions)
    }
}

fn broken(text: &str) -> Vec<String> {
    Script {
        name: "x.ps1".to_owned(),
        text: text.to_owned(),
    }
    .mistakes()
}

#[test]
fn every_script_is_powershell_that_5_1_reads() {
    let scripts = scripts();
    assert_eq!(scripts.len(), 6, "a script came or went: say so here");
    let mistakes: Vec<String> = scripts.iter().flat_map(Script::mistakes).collect();
    assert!(mistakes.is_empty(), "{}", mistakes.join("\n"));
}

#[test]
fn mistakes_are_found() {
    assert_eq!(broken("if ($a) { 'b' }\n"), [""; 0]);
    for text in [
        "if ($a { 'b' }",
        "function f { param([string] $a \n }",
        "$a = $b ? 1 : 2",
        "$a = $b ?? 1",
        "true && false",
        "'caf\u{e9}'",
        "\"run `cargo` now\"",
        "try { 'a' }",
        "foreach ($a of $b) { }",
    ] {
        assert!(!broken(text).is_empty(), "passed: {text}");
    }
}

#[test]
fn every_command_is_there() {
    let scripts = scripts();
    let mut functions = BTreeSet::new();
    for script in &scripts {
        functions.extend(script.calls_and_functions().1);
    }
    for script in &scripts {
        for call in script.calls_and_functions().0 {
            let known = functions.contains(&call) || CMDLETS.contains(&call.as_str());
            assert!(
                known,
                "{}: {call} is neither a function of the scripts nor among the cmdlets",
                script.name
            );
        }
    }
}

#[test]
fn what_a_module_exports_it_has() {
    for script in scripts() {
        let Some(export) = script
            .text
            .lines()
            .find(|line| line.starts_with("Export-ModuleMember"))
        else {
            continue;
        };
        let (_, functions) = script.calls_and_functions();
        let list = export.trim_start_matches("Export-ModuleMember -Function ");
        let list = list.split(" -Variable").next().unwrap();
        for name in list.split(", ") {
            assert!(functions.contains(name), "{} exports {name}", script.name);
        }
    }
}
