// Draws the figures whose data stand in the page, in the reader's colours; gives each as SVG, in those of print.
const figures = JSON.parse(document.getElementById("figures").textContent);
const light = { ink: "#1a1a1a", soft: "#595959", grid: "#e4e4e4", ground: "#ffffff" };
const dark = { ink: "#e8e8e8", soft: "#b0b0b0", grid: "#34373c", ground: "#16181b" };
const preference = matchMedia("(prefers-color-scheme: dark)");
const family = "Liberation Sans, Arial, Helvetica, sans-serif";

/** The layout of a figure in a set of colours. */
function dressed(layout, { ink, soft, grid, ground }) {
  const look = { ...layout, font: { family, size: 14, color: ink }, paper_bgcolor: ground, plot_bgcolor: ground };
  look.title = { ...layout.title, font: { size: 11, color: soft } };
  for (const name of Object.keys(layout).filter((key) => /^[xy]axis\d*$/.test(key))) {
    look[name] = { linecolor: ink, tickcolor: ink, gridcolor: grid, ...layout[name] };
  }
  return look;
}

function element(id) {
  return document.getElementById(`plot-${id}`);
}

/** Copies, as plotly writes into what it is given. */
function parts({ traces, layout }, colours) {
  return [structuredClone(traces), dressed(structuredClone(layout), colours)];
}

async function draw(colours) {
  for (const figure of figures) {
    const [traces, layout] = parts(figure, colours);
    await Plotly.react(element(figure.id), traces, layout, { responsive: true, displaylogo: false, displayModeBar: false });
  }
}

/** A figure as SVG text, 800 pixels wide. */
async function reportSvg(id) {
  const figure = figures.find((figure) => figure.id === id);
  const [data, layout] = parts(figure, light);
  const image = { format: "svg", width: 800, height: figure.height };
  const url = await Plotly.toImage({ data, layout }, image);
  return decodeURIComponent(url.slice(url.indexOf(",") + 1));
}

for (const button of document.querySelectorAll("button[data-svg]")) {
  const id = button.dataset.svg;
  button.addEventListener("click", async () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([await reportSvg(id)], { type: "image/svg+xml" }));
    link.download = `${id}.svg`;
    link.click();
    URL.revokeObjectURL(link.href);
  });
}

const wanted = () => (preference.matches ? dark : light);
preference.addEventListener("change", () => draw(wanted()));
addEventListener("beforeprint", () => draw(light));
addEventListener("afterprint", () => draw(wanted()));
draw(wanted()).then(() => {
  document.documentElement.dataset.drawn = String(figures.length);
});
