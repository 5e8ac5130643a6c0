//! From OpenMetrics to the text format that is older than it, which promtool and many scripts read. Pure.

pub(super) const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Whether a client that accepts this wants the older format. Prometheus itself names both and prefers the newer one.
pub(super) fn wants_text(accept: &str) -> bool {
    accept.contains("text/plain") && !accept.contains("application/openmetrics-text")
}

/// `page`, which is OpenMetrics, in the older format: a family bears the name of its samples there, and units are unknown.
pub(super) fn to_text(page: &str) -> String {
    let mut text = String::with_capacity(page.len());
    let mut help = None;
    for line in page.lines() {
        if let Some(said) = line.strip_prefix("# HELP ") {
            help = said.split_once(' ');
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|said| said.split_once(' ')) {
            let (suffix, kind) = match kind {
                "counter" => ("_total", kind),
                "info" => ("_info", "gauge"),
                "unknown" => ("", "untyped"),
                _ => ("", kind),
            };
            if let Some((name, help)) = help.take() {
                text.push_str(&format!("# HELP {name}{suffix} {help}\n"));
            }
            text.push_str(&format!("# TYPE {name}{suffix} {kind}\n"));
        } else if !line.starts_with('#') {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_bear_the_name_of_their_samples_and_what_is_new_goes() {
        let page = "# HELP a Of a.\n# TYPE a counter\na_total{x=\"# TYPE\"} 1\n# HELP b_seconds Of b.\n# TYPE b_seconds gauge\n\
            # UNIT b_seconds seconds\nb_seconds 2.5\n# HELP c Of c.\n# TYPE c info\nc_info{v=\"1\"} 1\n# EOF\n";
        let text = "# HELP a_total Of a.\n# TYPE a_total counter\na_total{x=\"# TYPE\"} 1\n# HELP b_seconds Of b.\n\
            # TYPE b_seconds gauge\nb_seconds 2.5\n# HELP c_info Of c.\n# TYPE c_info gauge\nc_info{v=\"1\"} 1\n";
        assert_eq!(to_text(page), text);
    }

    #[test]
    fn who_names_the_older_format_alone_gets_it() {
        let prometheus = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        for (accept, is_old) in
            [("text/plain", true), ("text/plain;version=0.0.4", true), (prometheus, false), ("*/*", false)]
        {
            assert_eq!(wants_text(accept), is_old, "{accept}");
        }
    }
}
