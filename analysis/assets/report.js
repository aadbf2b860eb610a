// Draws the figures whose data stand in the page; offers each as SVG.
const figures = JSON.parse(document.getElementById("figures").textContent);
const font = { family: "system-ui, sans-serif", size: 14, color: "#1a1a1a" };

for (const { id, traces, layout } of figures) {
  const element = document.getElementById(`plot-${id}`);
  const image = { format: "svg", filename: id, width: 800, height: 450 };
  const config = { responsive: true, displaylogo: false, toImageButtonOptions: image };
  Plotly.newPlot(element, traces, { font, paper_bgcolor: "#fff", plot_bgcolor: "#fff", ...layout }, config);
}

for (const button of document.querySelectorAll("button[data-svg]")) {
  const id = button.dataset.svg;
  button.addEventListener("click", () => {
    Plotly.downloadImage(`plot-${id}`, { format: "svg", filename: id, width: 800, height: 450 });
  });
}
document.documentElement.dataset.drawn = String(figures.length);
