// Extras: sorting, filtering, enlarging. The page works without them.
const list = document.querySelector(".recipes"), recipes = list ? [...list.children] : [];
const tools = document.querySelector(".arrange");
if (tools) {
  const arrange = () => {
    const score = tools.elements.score, name = score.value, type = tools.elements.type?.value;
    const sign = score.selectedOptions[0].dataset.sign * (tools.elements.order.value === "first" ? 1 : -1);
    const key = recipe => name in recipe.dataset ? sign * recipe.dataset[name] : Infinity;
    list.append(...recipes.toSorted((one, other) => key(one) - key(other)));
    for (const recipe of recipes) recipe.hidden = Boolean(type) && recipe.dataset.type !== type;
    for (const text of document.querySelectorAll("figcaption b, h3 .soft span")) text.textContent = text.dataset[name] ?? "–";
  };
  tools.hidden = false;
  tools.addEventListener("change", arrange);
  arrange();
}
const dialog = document.body.appendChild(document.createElement("dialog"));
let step;
const enlarge = item => {
  if (!item) return;
  step = item;
  const strip = document.createElement("ol");
  strip.className = "strip";
  strip.append(item.cloneNode(true));
  for (const image of strip.querySelectorAll("img")) image.removeAttribute("role");
  dialog.replaceChildren(strip);
  dialog.setAttribute("aria-label", item.querySelector("p").textContent);
  if (!dialog.open) dialog.showModal();
};
dialog.addEventListener("click", () => dialog.close());
dialog.addEventListener("keydown", event => {
  if (event.key === "ArrowRight") enlarge(step.nextElementSibling);
  if (event.key === "ArrowLeft") enlarge(step.previousElementSibling);
});
for (const image of document.querySelectorAll(".strip img")) {
  image.tabIndex = 0;
  image.setAttribute("role", "button");
  image.addEventListener("click", () => enlarge(image.closest("li")));
  image.addEventListener("keydown", event => {
    if (event.key === "Enter" || event.key === " ") { event.preventDefault(); enlarge(image.closest("li")); }
  });
}
