// Runs in the browser once the page is there. Given: figures, chosen (the text that names the job
// to show), lists (parts that are written anew while somebody may have the focus in them).
const root = document.documentElement
const scheme = document.getElementById("scheme")
const system = window.matchMedia("(prefers-color-scheme: dark)")

// Colours: of the page by its style sheet, of the plots from there.
const paint = () => {
  root.dataset.scheme = scheme.value || (system.matches ? "dark" : "light")
  const style = getComputedStyle(root)
  const colour = (name) => style.getPropertyValue(name).trim()
  for (const figure of figures) {
    for (const axis of [...figure.below, ...figure.left]) {
      axis.setv({
        axis_label_text_color: colour("--dim"), major_label_text_color: colour("--ink"),
        axis_line_color: colour("--dim"), major_tick_line_color: colour("--dim"),
        minor_tick_line_color: null,
      }, {sync: false})
    }
    for (const grid of figure.center.filter((part) => part.type == "Grid"))
      grid.setv({grid_line_color: colour("--line")}, {sync: false})
    for (const legend of figure.center.filter((part) => part.type == "Legend"))
      legend.setv({
        label_text_color: colour("--ink"), background_fill_color: colour("--panel"),
      }, {sync: false})
  }
  for (const renderer of lost)
    renderer.glyph.setv({line_color: colour("--mark")}, {sync: false})
}
try { scheme.value = localStorage.getItem("portfire-scheme") || "" } catch { /* none is kept */ }
scheme.addEventListener("change", () => {
  try { localStorage.setItem("portfire-scheme", scheme.value) } catch { /* none is kept */ }
  paint()
})
system.addEventListener("change", paint)
paint()

// A button of a job, in any part: show that job. A path, since each part is a tree of its own.
const jobOf = (event) => event.composedPath().find((node) => node.dataset && node.dataset.job)
let focused = null
document.addEventListener("click", (event) => {
  const button = jobOf(event)
  if (button) chosen.value = button.dataset.job
})
document.addEventListener("focusin", (event) => { focused = jobOf(event)?.dataset.job ?? null })
// Whoever walks through a list by keyboard must not lose the place when it is written anew.
const keepFocus = (list) => () => {
  const key = focused
  if (key === null) return
  setTimeout(() => {
    if (document.activeElement && document.activeElement !== document.body) return
    const view = Bokeh.index.find_one ? Bokeh.index.find_one(list) : null
    const tree = view?.shadow_el
    const button = tree && [...tree.querySelectorAll("button.job")].find((b) => b.dataset.job === key)
    if (button) button.focus()
  }, 50)
}
for (const list of lists) list.properties.text.change.connect(keepFocus(list))
root.dataset.ready = "yes"
