//! Draws line graphs with a logarithmic x axis, as SVG.

/// A graph of costs.
pub(crate) struct Graph {
    pub(crate) title: String,
    pub(crate) x: String,
    pub(crate) y: String,
    /// The x axis always is.
    pub(crate) is_y_logarithmic: bool,
    pub(crate) series: Vec<Series>,
}

pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) color: &'static str,
    pub(crate) points: Vec<(f64, f64)>,
}

const WIDTH: f64 = 820.0;
const HEIGHT: f64 = 440.0;
const LEFT: f64 = 70.0;
/// The right end of the lines; their names are drawn to the right of it.
const RIGHT: f64 = 580.0;
const TOP: f64 = 50.0;
const BOTTOM: f64 = 385.0;

pub(crate) fn svg(graph: &Graph) -> String {
    let points = || graph.series.iter().flat_map(|series| &series.points);
    let across = Axis::new(points().map(|point| point.0), true, LEFT, RIGHT);
    let up = Axis::new(points().map(|point| point.1), graph.is_y_logarithmic, BOTTOM, TOP);
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{LEFT}\" y=\"26\" font-size=\"15\">{}</text>\n",
        escape(&graph.title)
    );
    for tick in across.ticks() {
        let x = across.place(tick);
        text += &format!(
            "<path d=\"M{x:.1} {TOP}V{BOTTOM}\" stroke=\"#eee\"/>\
             <text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n",
            BOTTOM + 18.0,
            label(tick)
        );
    }
    for tick in up.ticks() {
        let y = up.place(tick);
        text += &format!(
            "<path d=\"M{LEFT} {y:.1}H{RIGHT}\" stroke=\"#ddd\"/>\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\n",
            LEFT - 8.0,
            y + 4.0,
            label(tick)
        );
    }
    text += &format!(
        "<text x=\"{RIGHT}\" y=\"{}\" text-anchor=\"end\">{}</text>\n\
         <text x=\"{LEFT}\" y=\"{}\" text-anchor=\"end\">{}</text>\n",
        BOTTOM + 38.0,
        escape(&graph.x),
        TOP - 10.0,
        escape(&graph.y)
    );
    let ends = spread(
        graph
            .series
            .iter()
            .map(|series| series.points.last().map_or(BOTTOM, |point| up.place(point.1))),
    );
    for (series, end) in graph.series.iter().zip(ends) {
        let color = series.color;
        let line: Vec<_> = series
            .points
            .iter()
            .map(|(x, y)| format!("{:.1},{:.1}", across.place(*x), up.place(*y)))
            .collect();
        text += &format!(
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"2\"/>\n",
            line.join(" ")
        );
        for point in &line {
            let (x, y) = point.split_once(',').unwrap_or_default();
            text += &format!("<circle cx=\"{x}\" cy=\"{y}\" r=\"3\" fill=\"{color}\"/>");
        }
        text += &format!(
            "\n<text x=\"{}\" y=\"{:.1}\" fill=\"{color}\">{}</text>\n",
            RIGHT + 10.0,
            end + 4.0,
            escape(&series.name)
        );
    }
    text + "</svg>\n"
}

/// A scale from numbers to positions.
struct Axis {
    is_logarithmic: bool,
    least: f64,
    most: f64,
    from: f64,
    to: f64,
}

impl Axis {
    fn new(values: impl Iterator<Item = f64>, is_logarithmic: bool, from: f64, to: f64) -> Self {
        let (least, most) =
            values.fold((f64::MAX, 1.0_f64), |(least, most), it| (least.min(it), most.max(it)));
        let least = if is_logarithmic { least.clamp(0.1, most / 2.0) } else { 0.0 };
        // So that no line runs along the edge.
        let most = if is_logarithmic { most } else { most * 1.1 };
        Self { is_logarithmic, least, most, from, to }
    }

    fn place(&self, value: f64) -> f64 {
        let share = if self.is_logarithmic {
            (value.max(self.least) / self.least).ln() / (self.most / self.least).ln()
        } else {
            (value - self.least) / (self.most - self.least)
        };
        self.from + share * (self.to - self.from)
    }

    /// Powers of ten, or of two if they are few, or round steps.
    fn ticks(&self) -> Vec<f64> {
        let step = if self.is_logarithmic {
            let decades = (self.most / self.least).log10();
            let base = if decades > 3.2 { 10.0_f64 } else { 2.0 };
            let powers = -4..40;
            return powers
                .map(|power| base.powi(power))
                .filter(|tick| (self.least * 0.999..=self.most * 1.001).contains(tick))
                .collect();
        } else {
            let rough = self.most / 6.0;
            let power = 10.0_f64.powf(rough.log10().floor());
            [1.0, 2.0, 5.0, 10.0].map(|it| it * power).into_iter().find(|it| *it >= rough)
        };
        let step = step.unwrap_or(self.most);
        (0..=(self.most / step) as usize).map(|count| count as f64 * step).collect()
    }
}

/// Moves overlapping names apart, as little as possible.
fn spread(places: impl Iterator<Item = f64>) -> Vec<f64> {
    const LINE: f64 = 15.0;
    let mut order: Vec<(usize, f64)> = places.enumerate().collect();
    order.sort_by(|one, other| one.1.total_cmp(&other.1));
    for at in 1..order.len() {
        order[at].1 = order[at].1.max(order[at - 1].1 + LINE);
    }
    let mut bound = BOTTOM;
    for place in order.iter_mut().rev() {
        place.1 = place.1.min(bound);
        bound = place.1 - LINE;
    }
    order.sort_by_key(|(index, _)| *index);
    order.into_iter().map(|(_, place)| place).collect()
}

fn label(value: f64) -> String {
    match value {
        _ if value >= 1e6 => format!("{} M", value / 1e6),
        _ if value >= 10_000.0 => format!("{} k", value / 1e3),
        _ if value >= 1.0 => format!("{value:.0}"),
        _ => format!("{value}"),
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_series_has_its_line_and_its_name_inside_the_picture() {
        let series = |name: &str, cost| Series {
            name: name.to_owned(),
            color: "black",
            points: vec![(128.0, cost), (1_048_576.0, cost * 40.0)],
        };
        let graph = Graph {
            title: "cost <of> all".to_owned(),
            x: "bytes".to_owned(),
            y: "µs".to_owned(),
            is_y_logarithmic: true,
            series: vec![series("floor", 3.0), series("echo", 3.01)],
        };
        let svg = svg(&graph);
        assert_eq!(svg.matches("<polyline").count(), 2);
        assert!(svg.contains(">echo</text>") && svg.contains("cost &lt;of> all"), "{svg}");
        assert!(!svg.contains("NaN"), "{svg}");
    }

    #[test]
    fn names_do_not_cover_each_other() {
        assert_eq!(spread([100.0, 101.0, 300.0].into_iter()), [100.0, 115.0, 300.0]);
    }
}
