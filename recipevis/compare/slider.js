// An extra: two experiments over each other. Its pictures are those of the recipes further down.
const slider = document.querySelector("section.slider");
if (slider) {
  const controls = slider.querySelector("form").elements, stage = slider.querySelector(".stage");
  const strips = recipes.map(recipe => [...recipe.querySelectorAll("li")]);
  const move = () => stage.style.setProperty("--at", `${controls.at.value}%`);
  const show = () => stage.replaceChildren(...strips[controls.recipe.value].map(item => {
    const tile = document.createElement("div"), pair = document.createElement("div"), figures = item.querySelectorAll("figure");
    pair.className = "pair";
    for (const side of [controls.left.value, controls.right.value]) {
      const image = figures[side].querySelector("img");
      if (image) pair.append(Object.assign(new Image(), { src: image.src, alt: image.alt, draggable: false }));
    }
    tile.append(pair, item.querySelector("p").cloneNode(true));
    return tile;
  }));
  stage.addEventListener("pointermove", event => {
    const pair = event.target.closest(".pair");
    if (!pair) return;
    const { left, width } = pair.getBoundingClientRect();
    controls.at.value = 100 * (event.clientX - left) / width;
    move();
  });
  controls.at.addEventListener("input", move);
  for (const name of ["recipe", "left", "right"]) controls[name].addEventListener("change", show);
  for (const part of document.querySelectorAll(".slider")) part.hidden = false;
  show();
}
