//! A figure as SVG.
//!
//! Not here: what is drawn (`figure`).

use std::fmt::Write;

use super::{BOTTOM, Drawn, Figure, HEIGHT, LEFT, RIGHT, TOP, WIDTH};

/// Draws it.
pub(crate) fn draw(figure: &Figure) -> String {
    let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
    let title = escaped(&figure.title);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{HEIGHT}\" \
         viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"14\">\n\
         <title>{title}</title>\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n\
         <text x=\"{LEFT}\" y=\"{}\">{title}: mean, and least to greatest</text>\n",
        TOP / 2
    );
    let high = figure.windows.iter().map(|window| point(window.x, window.high));
    let low = figure.windows.iter().rev().map(|window| point(window.x, window.low));
    let envelope: Vec<String> = high.chain(low).collect();
    line(&mut svg, "polygon", "envelope", "#9ecae1\" stroke=\"#9ecae1", &envelope);
    // A mean that is no number parts the line.
    for part in figure.windows.split(|window| window.mean.is_none()) {
        let means: Vec<String> = part.iter().filter_map(mean).collect();
        match means.as_slice() {
            [] => {}
            [one] => {
                let (x, y) = one.split_once(',').unwrap_or_default();
                svg += &format!("<circle class=\"mean\" cx=\"{x}\" cy=\"{y}\" r=\"2\" fill=\"#08519c\"/>\n");
            }
            means => {
                line(&mut svg, "polyline", "mean", "none\" stroke=\"#08519c\" stroke-width=\"1.5", means)
            }
        }
    }
    svg += &format!("<path d=\"M{LEFT} {TOP}V{bottom}H{right}\" fill=\"none\" stroke=\"black\"/>\n");
    for (label, y) in figure.values.iter().zip([bottom, u32::midpoint(TOP, bottom), TOP]) {
        text(&mut svg, LEFT - 8, y + 5, "end", label);
    }
    let keys = if figure.keys[0] == figure.keys[2] { 1..2 } else { 0..3 };
    let places = [(LEFT, "start"), (u32::midpoint(LEFT, right), "middle"), (right, "end")];
    for (label, (x, anchor)) in figure.keys[keys.clone()].iter().zip(&places[keys]) {
        text(&mut svg, *x, bottom + 22, anchor, label);
    }
    svg + "</svg>\n"
}

fn mean(window: &Drawn) -> Option<String> {
    Some(point(window.x, window.mean?))
}

/// Where a place of the figure is in the picture.
fn point(x: f64, y: f64) -> String {
    let (width, height) = (f64::from(WIDTH - LEFT - RIGHT), f64::from(HEIGHT - TOP - BOTTOM));
    format!("{:.1},{:.1}", f64::from(LEFT) + x * width, f64::from(TOP) + (1.0 - y) * height)
}

fn line(svg: &mut String, shape: &str, class: &str, fill: &str, points: &[String]) {
    // A string takes whatever is written into it.
    _ = writeln!(svg, "<{shape} class=\"{class}\" fill=\"{fill}\" points=\"{}\"/>", points.join(" "));
}

fn text(svg: &mut String, x: u32, y: u32, anchor: &str, label: &str) {
    let label = escaped(label);
    _ = writeln!(svg, "<text x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\">{label}</text>");
}

/// As XML has it, which has no control characters.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        match c {
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '&' => escaped += "&amp;",
            c if c.is_control() || matches!(c, '\u{FFFE}' | '\u{FFFF}') => escaped.push('\u{FFFD}'),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_text_and_never_markup() {
        assert_eq!(escaped("a<b>&\0\u{FFFE}€"), "a&lt;b&gt;&amp;\u{FFFD}\u{FFFD}€");
    }

    #[test]
    fn corners_are_where_the_axes_are() {
        assert_eq!((point(0.0, 0.0), point(1.0, 1.0)), ("120.0,435.0".into(), "1180.0,45.0".into()));
    }
}
