//! `debugger/headroom.natvis` against the driver's .pdb: each type that it visualizes and each member that it names is
//! there. No schema for NatVis can be had without Visual Studio, so the rules of its form are written here, as far as the
//! file uses them.

use std::collections::HashMap;
use std::fs::File;

use pdb_addr2line::pdb::{FallibleIterator as _, PDB, PrimitiveKind, TypeData, TypeIndex};
use roxmltree::{Document, Node};

use crate::{common, node};

const NAMESPACE: &str = "http://schemas.microsoft.com/vstudio/debugger/natvis/2010";

/// The .pdb's structures: name to members, each with its type's name. What a pointer points to, and an array's elements,
/// stand for them.
type Types = HashMap<String, HashMap<String, String>>;

fn types() -> Types {
    let mut pdb = PDB::open(File::open(common::sys().with_extension("pdb")).unwrap()).unwrap();
    let information = pdb.type_information().unwrap();
    let mut finder = information.finder();
    let mut items = information.iter();
    let mut structures = Vec::new();
    while let Some(item) = items.next().unwrap() {
        finder.update(&items);
        if let Ok(TypeData::Class(class)) = item.parse()
            && let Some(fields) = class.fields
        {
            structures.push((class.name.to_string().into_owned(), fields));
        }
    }
    let name_of = |mut index: TypeIndex| loop {
        match finder.find(index).unwrap().parse() {
            Ok(TypeData::Class(class)) => return class.name.to_string().into_owned(),
            Ok(TypeData::Pointer(pointer)) => index = pointer.underlying_type,
            Ok(TypeData::Array(array)) => index = array.element_type,
            Ok(TypeData::Primitive(primitive)) if primitive.kind != PrimitiveKind::NoType => {
                return "a number".to_owned();
            }
            _ => return "?".to_owned(),
        }
    };
    let mut types = Types::new();
    for (name, fields) in structures {
        let Ok(TypeData::FieldList(list)) = finder.find(fields).unwrap().parse() else {
            continue;
        };
        let members = list.fields.iter().filter_map(|field| match field {
            TypeData::Member(member) => Some((
                member.name.to_string().into_owned(),
                name_of(member.field_type),
            )),
            _ => None,
        });
        types.insert(name, members.collect());
    }
    types
}

/// The member chains of an expression (`state.v.value`), without casts, numbers and what follows the comma.
fn chains(expression: &str) -> Vec<Vec<&str>> {
    let expression = match expression.rsplit_once(',') {
        // `path_tail,[tail_length]su`: the length is an expression, too.
        Some((value, format)) => {
            let length = format.split(['[', ']']).nth(1);
            return [value]
                .into_iter()
                .chain(length)
                .flat_map(chains_of)
                .collect();
        }
        None => expression,
    };
    chains_of(expression)
}

fn chains_of(expression: &str) -> Vec<Vec<&str>> {
    let words = without_pointer_casts(expression)
        .into_iter()
        .flat_map(|part| part.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '.')));
    words
        .filter(|word| !word.is_empty() && !word.starts_with(|c: char| c.is_ascii_digit()))
        .filter(|word| !["unsigned", "int", "char"].contains(word))
        .map(|word| word.split('.').collect())
        .collect()
}

/// What stands around casts to pointers, as `*(void **)&ring`: how an atomic pointer is taken, whose members differ from compiler to compiler.
fn without_pointer_casts(expression: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = expression;
    while let Some(end) = rest.find("*)") {
        let start = rest[..end].rfind('(').expect("a cast's beginning");
        parts.push(&rest[..start]);
        rest = &rest[end + 2..];
    }
    parts.push(rest);
    parts
}

/// The structures that an expression casts pointers to.
fn cast_types(expression: &str) -> Vec<&str> {
    let casts = expression
        .match_indices("*)")
        .filter_map(|(end, _)| expression[..end].rsplit_once('('));
    casts
        .map(|(_, to)| to.trim_end_matches(['*', ' ']))
        .filter(|to| !["void", "char"].contains(to))
        .collect()
}

/// Says what is wrong with a chain, if something is.
fn resolve(types: &Types, of: &str, chain: &[&str]) -> Result<(), String> {
    let mut at = of.to_owned();
    for member in chain {
        let members = types
            .get(&at)
            .ok_or_else(|| format!("{at} has no members"))?;
        at = members
            .get(*member)
            .ok_or_else(|| format!("{at} has no member {member}"))?
            .clone();
    }
    Ok(())
}

/// Every expression of a node: its text or what stands in braces, and its condition.
fn expressions<'a>(node: Node<'a, 'a>) -> Vec<&'a str> {
    let text = node.text().unwrap_or("").trim();
    let mut found = match node.tag_name().name() {
        "DisplayString" => text
            .split('{')
            .skip(1)
            .map(|part| part.split_once('}').expect("a closing brace").0)
            .collect(),
        "Item" | "Size" | "ValuePointer" => vec![text],
        _ => Vec::new(),
    };
    found.extend(node.attribute("Condition"));
    found
}

/// Element, the elements that it may stand in, the attributes that it may have.
const FORM: &[(&str, &str, &[&str])] = &[
    ("Type", "AutoVisualizer", &["Name"]),
    ("DisplayString", "Type", &["Condition"]),
    ("Expand", "Type", &[]),
    ("Item", "Expand", &["Name", "Condition"]),
    ("ArrayItems", "Expand", &["Condition"]),
    ("Size", "ArrayItems", &[]),
    ("ValuePointer", "ArrayItems", &[]),
];

fn faults(text: &str, types: &Types) -> Vec<String> {
    let document = match Document::parse(text) {
        Ok(document) => document,
        Err(error) => return vec![error.to_string()],
    };
    let mut faults = Vec::new();
    let root = document.root_element();
    if (root.tag_name().name(), root.tag_name().namespace()) != ("AutoVisualizer", Some(NAMESPACE))
    {
        faults.push("the root is no AutoVisualizer of NatVis".to_owned());
    }
    for node in root
        .descendants()
        .filter(|node| node.is_element() && *node != root)
    {
        let name = node.tag_name().name();
        let parent = node.parent_element().unwrap().tag_name().name();
        match FORM.iter().find(|(element, _, _)| *element == name) {
            Some((_, within, attributes)) if *within == parent => faults.extend(
                node.attributes()
                    .filter(|attribute| !attributes.contains(&attribute.name()))
                    .map(|attribute| format!("{name} has no attribute {}", attribute.name())),
            ),
            _ => faults.push(format!("{name} does not stand in {parent}")),
        }
    }
    for visualized in root.children().filter(Node::is_element) {
        let of = visualized.attribute("Name").unwrap_or("");
        if !types.contains_key(of) {
            faults.push(format!("there is no type {of}"));
            continue;
        }
        let strings: Vec<_> = visualized
            .children()
            .filter(|node| node.has_tag_name((NAMESPACE, "DisplayString")))
            .collect();
        // The first that applies is taken: one without a condition ends the list.
        let last = strings.len().saturating_sub(1);
        let open = strings
            .iter()
            .position(|node| node.attribute("Condition").is_none());
        if open != Some(last) {
            faults.push(format!(
                "{of}: its last DisplayString, and only that, has no condition"
            ));
        }
        for expression in visualized.descendants().flat_map(expressions) {
            for to in cast_types(expression) {
                if !types.contains_key(to) {
                    faults.push(format!("{of}: {expression}: there is no type {to}"));
                }
            }
            for chain in chains(expression) {
                if let Err(why) = resolve(types, of, &chain) {
                    faults.push(format!("{of}: {expression}: {why}"));
                }
            }
        }
    }
    faults
}

fn natvis() -> String {
    std::fs::read_to_string(node::folder().join("headroom.natvis")).unwrap()
}

#[test]
fn each_type_and_member_is_in_the_pdb() {
    assert_eq!(faults(&natvis(), &types()), Vec::<String>::new());
}

/// What a debugger looks at through the names in the header is of the types that are visualized.
#[test]
fn the_statics_have_visualized_types() {
    let mut pdb = PDB::open(File::open(common::sys().with_extension("pdb")).unwrap()).unwrap();
    let symbols = pdb.global_symbols().unwrap();
    let names: Vec<String> = symbols
        .iter()
        .filter_map(|symbol| match symbol.parse() {
            Ok(pdb_addr2line::pdb::SymbolData::Data(data)) => {
                Ok(Some(data.name.to_string().into_owned()))
            }
            _ => Ok(None),
        })
        .collect()
        .unwrap();
    let text = natvis();
    let shown: Vec<&str> = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("dx headroom!"))
        .collect();
    assert_eq!(shown.len(), 3);
    for name in shown {
        assert!(names.iter().any(|known| known == name), "{name}: {names:?}");
    }
}

#[test]
fn every_rule_can_be_broken() {
    let (good, types) = (natvis(), types());
    for (from, to, fault) in [
        (
            "protocol::codes::Policy",
            "protocol::codes::Polity",
            "there is no type protocol::codes::Polity",
        ),
        ("nest_depth,d}:", "nesting,d}:", "has no member nesting"),
        ("head.v.value", "head.w.value", "has no member w"),
        (
            "[tail_length]su",
            "[tail_size]su",
            "has no member tail_size",
        ),
        (
            "<Size>",
            "<Size Optional=\"true\">",
            "Size has no attribute Optional",
        ),
        (
            "<Expand>",
            "<Item>1</Item><Expand>",
            "Item does not stand in Type",
        ),
        (
            "<DisplayString>{system}</DisplayString>",
            "",
            "recorder::watermarks::Watermarks: its last DisplayString",
        ),
        (
            "natvis/2010",
            "natvis/2011",
            "the root is no AutoVisualizer",
        ),
        ("</Expand>", "", "expected"),
    ] {
        assert!(good.contains(from), "{from}");
        let found = faults(&good.replacen(from, to, 1), &types);
        assert!(
            found.iter().any(|one| one.contains(fault)),
            "{fault}: {found:?}"
        );
    }
}
