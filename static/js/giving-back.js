// Hours that a credit note gives back: typed hours work out their amount, and the sum is told; 0,5 is a half.

const number = (text) => Number(/^\d+,(?!\d{3}$)\d+$/.test(text) ? text.replace(",", ".") : text.replaceAll(",", "")) || 0;

document.querySelectorAll("[data-giving-back]").forEach((form) => {
  const told = form.querySelector("[data-sum]");
  const add = () => {
    let sum = 0;
    for (const [name, value] of new FormData(form)) if (name.endsWith("-amount")) sum += number(value);
    told.value = sum.toLocaleString("en", { minimumFractionDigits: 2 });
    told.classList.toggle("bad", Math.abs(sum - number(form.dataset.wanted)) > 0.00001);
  };
  form.addEventListener("input", ({ target: { name, value, dataset } }) => {
    if (dataset.hours) form[name.replace("hours", "amount")].value = value && (dataset.amount * number(value) / dataset.hours).toFixed(2);
    add();
  });
  add();
});
