// What the theme lacks for readers who use a keyboard or a screen reader: areas that scroll can be reached with the Tab key, and
// the search has a name.
window.addEventListener("load", () => {
  for (const area of document.querySelectorAll("pre > code, .md-typeset__scrollwrap")) {
    if (area.scrollWidth > area.clientWidth) area.tabIndex = 0;
  }
  document.querySelector("[data-md-component=search]")?.setAttribute("aria-label", "Search");
  document.querySelectorAll("input.md-toggle").forEach((box) => box.setAttribute("aria-label", box.id.replaceAll("_", "")));
});
