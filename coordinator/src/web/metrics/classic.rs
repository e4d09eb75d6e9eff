//! The text format of Prometheus before OpenMetrics: for `promtool check metrics`, and for readers that
//! know no other.

/// From OpenMetrics: families of counters and infos get the names of their samples there, an info is a
/// gauge, and nothing marks the end.
pub(super) fn classic(open_metrics: &str) -> String {
    let lines: Vec<&str> = open_metrics.lines().collect();
    let mut text = String::with_capacity(open_metrics.len());
    for (index, line) in lines.iter().enumerate() {
        // The type of a family follows its help.
        let kind_at = index + usize::from(line.starts_with("# HELP "));
        let kind = lines
            .get(kind_at)
            .and_then(|line| line.strip_prefix("# TYPE "));
        let kind = kind
            .and_then(|family| family.rsplit_once(' '))
            .map(|(_, kind)| kind);
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        match words.as_slice() {
            ["#", "EOF"] => {}
            ["#", word, name, rest] => {
                let (suffix, kind) = match kind {
                    Some("counter") => ("_total", "counter"),
                    Some("info") => ("_info", "gauge"),
                    Some(other) => ("", other),
                    None => ("", ""),
                };
                let rest = if *word == "TYPE" { kind } else { rest };
                text += &format!("# {word} {name}{suffix} {rest}\n");
            }
            _ => text += &format!("{line}\n"),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_have_the_names_of_their_samples() {
        let open_metrics = "# HELP a_build Version of it\n# TYPE a_build info\na_build_info{v=\"1\"} 1\n\
            # HELP a_probe Probes fired\n# TYPE a_probe counter\na_probe_total{s=\"x y\"} 3\n\
            # HELP a_up Whether\n# TYPE a_up gauge\na_up 1.0\n# EOF\n";
        let expected = "# HELP a_build_info Version of it\n# TYPE a_build_info gauge\na_build_info{v=\"1\"} 1\n\
            # HELP a_probe_total Probes fired\n# TYPE a_probe_total counter\na_probe_total{s=\"x y\"} 3\n\
            # HELP a_up Whether\n# TYPE a_up gauge\na_up 1.0\n";
        assert_eq!(classic(open_metrics), expected);
    }
}
