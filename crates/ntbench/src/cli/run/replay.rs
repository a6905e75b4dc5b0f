//! The command that runs what has failed again, and nothing else.

/// This command line without those options and their values, and with `more` words at its end.
pub(in crate::cli) fn command(without: &[&str], more: &[String]) -> String {
    rewritten(std::env::args().skip(1), without, more)
}

fn rewritten(given: impl Iterator<Item = String>, without: &[&str], more: &[String]) -> String {
    let mut words = vec!["ntbench".to_owned()];
    let mut given = given;
    while let Some(word) = given.next() {
        let name = word.split('=').next().unwrap_or(&word);
        if !without.contains(&name) {
            words.push(quoted(&word));
        } else if name.len() == word.len() {
            given.next();
        }
    }
    words.extend(more.iter().map(|word| quoted(word)));
    words.join(" ")
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=,:+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::rewritten;

    #[test]
    fn options_are_taken_out_in_both_forms() {
        let given = ["run", "a b.sys", "--seed", "7", "--schedules=30", "--json"];
        assert_eq!(
            rewritten(
                given.iter().map(|word| (*word).to_owned()),
                &["--seed", "--schedules"],
                &["--seed".to_owned(), "9".to_owned()]
            ),
            "ntbench run 'a b.sys' --json --seed 9"
        );
    }
}
