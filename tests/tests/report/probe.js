// Measures PAGE in frames of each width, light and dark, and writes what it found as JSON.

function visible(element) {
  const box = element.getBoundingClientRect();
  return box.width > 0 || box.height > 0;
}

function channels(colour) {
  return colour.match(/[\d.]+/g).map(Number);
}

// Luminance and contrast as WCAG 2 defines them.
function luminance(colour) {
  const linear = share => share <= 0.03928 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  const [r, g, b] = channels(colour).map(channel => linear(channel / 255));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

function background(element) {
  for (; element; element = element.parentElement) {
    const colour = getComputedStyle(element).backgroundColor;
    if (channels(colour)[3] !== 0) return colour;
  }
  return 'rgb(255, 255, 255)';
}

function contrast(element) {
  const [a, b] = [getComputedStyle(element).color, background(element)].map(luminance);
  return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
}

function has_text(element) {
  return [...element.childNodes].some(node => node.nodeType === Node.TEXT_NODE && node.data.trim());
}

// Rows of a bar chart that reach into the next one.
function overlapping(rows) {
  const boxes = rows.map(row => row.getBoundingClientRect());
  return boxes.filter((box, i) => boxes[i + 1] && boxes[i + 1].top > box.top && boxes[i + 1].top < box.bottom - 1).length;
}

function measure(frame) {
  const page = frame.contentDocument;
  const all = selector => [...page.querySelectorAll(selector)];
  all('details').forEach(details => details.open = true);
  const texts = all('body *').filter(element => visible(element) && !element.closest('svg') && has_text(element));
  texts.sort((a, b) => contrast(a) - contrast(b));
  const root = page.documentElement;
  return {
    dark: frame.contentWindow.matchMedia('(prefers-color-scheme: dark)').matches,
    width: root.clientWidth,
    content_width: root.scrollWidth,
    bars: all('rect.bar').filter(visible).length,
    columns: all('rect.column').filter(visible).length,
    points: all('circle').filter(visible).length,
    lines: all('polyline').filter(visible).length,
    overlapping_rows: overlapping(all('.row')),
    charts_without_label: all('svg:not([aria-hidden]):not([aria-label])').length,
    tables_without_header: all('table').filter(table => !table.querySelector('thead th[scope=col]')).length,
    contrast: contrast(texts[0]),
    faintest: texts[0].outerHTML.slice(0, 200),
    loaded: frame.contentWindow.performance.getEntriesByType('resource').length,
  };
}

const found = [];
for (const width of [360, 1280]) {
  for (const scheme of ['light', 'dark']) {
    const frame = document.createElement('iframe');
    frame.style = `width: ${width}px; height: 2000px; border: 0; color-scheme: ${scheme}`;
    frame.srcdoc = PAGE;
    frame.onload = () => {
      found.push(measure(frame));
      document.getElementById('found').textContent = JSON.stringify(found);
    };
    document.body.append(frame);
  }
}
