// Runs when the page is there; given: plots. They take their colours from the page's style sheet.
const system = window.matchMedia("(prefers-color-scheme: dark)")
const paint = () => {
  const style = getComputedStyle(document.documentElement)
  const colour = (name) => style.getPropertyValue(name).trim()
  for (const plot of plots) {
    plot.setv({
      background_fill_color: colour("--page"), border_fill_color: colour("--page"),
      outline_line_color: colour("--line"),
    })
    for (const axis of [...plot.below, ...plot.left])
      axis.setv({
        axis_label_text_color: colour("--dim"), major_label_text_color: colour("--ink"),
        axis_line_color: colour("--dim"), major_tick_line_color: colour("--dim"),
        minor_tick_line_color: colour("--line"),
      })
    for (const grid of plot.center.filter((part) => part.type == "Grid"))
      grid.setv({grid_line_color: colour("--line")})
    for (const legend of plot.above.filter((part) => part.type == "Legend"))
      legend.setv({
        label_text_color: colour("--ink"), background_fill_color: colour("--page"),
        inactive_fill_color: colour("--page"),
      })
  }
}
system.addEventListener("change", paint)
paint()
