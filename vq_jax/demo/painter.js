// Shows the image of the component's value and lets the user paint a mask on it.
// The value is JSON with the PNG files `image` and `mask` in base64. The canvases
// have the size of the model's images, so that no pixel is resampled.
const find = (name) => element.querySelector('.vq-paint-' + name);
let erasing = false;
let last = null;

function canvas() {
  return find('mask').getContext('2d', {willReadFrequently: true});
}

function parts() {
  return JSON.parse(props.value || '{"image": null, "mask": null}');
}

function draw(name, data) {
  const context = find(name).getContext('2d');
  context.clearRect(0, 0, context.canvas.width, context.canvas.height);
  if (!data) return;
  const image = new Image();
  image.onload = () => context.drawImage(image, 0, 0);
  image.src = 'data:image/png;base64,' + data;
}

function show() {
  const {image, mask} = parts();
  element.querySelector('.vq-painter').classList.toggle('vq-empty', !image);
  draw('image', image);
  draw('mask', mask);
}

function store() {
  const image = parts().image;
  const url = find('mask').toDataURL('image/png');
  own = JSON.stringify({image, mask: url.slice(url.indexOf(',') + 1)});
  props.value = own;
}

function position(event) {
  const box = find('mask').getBoundingClientRect();
  const {width, height} = find('mask');
  return [
    (event.clientX - box.left) / box.width * width,
    (event.clientY - box.top) / box.height * height,
  ];
}

// Sets whole pixels, so that the mask has no soft border.
function dab(x, y) {
  const context = canvas();
  const radius = Number(find('size').value) / 2;
  context.fillStyle = '#ff5a1f';
  const cells = [];
  for (let row = Math.floor(y - radius); row <= y + radius; row++) {
    for (let column = Math.floor(x - radius); column <= x + radius; column++) {
      const far = Math.hypot(column + 0.5 - x, row + 0.5 - y) > radius;
      if (!far) cells.push([column, row]);
    }
  }
  cells.push([Math.floor(x), Math.floor(y)]);
  for (const [column, row] of cells) {
    if (erasing) context.clearRect(column, row, 1, 1);
    else context.fillRect(column, row, 1, 1);
  }
}

function stroke(event) {
  const [x, y] = position(event);
  const [fromX, fromY] = last || [x, y];
  const steps = Math.ceil(2 * Math.hypot(x - fromX, y - fromY)) || 1;
  for (let i = 1; i <= steps; i++) {
    dab(fromX + (x - fromX) * i / steps, fromY + (y - fromY) * i / steps);
  }
  last = [x, y];
}

function erase(on) {
  erasing = on;
  find('brush').classList.toggle('vq-on', !on);
  find('eraser').classList.toggle('vq-on', on);
}

let own = null;  // the value that was set here, and needs no drawing
watch('value', () => { if (props.value !== own) show(); });

const mask = find('mask');
mask.addEventListener('pointerdown', (event) => {
  if (!parts().image) return;
  mask.setPointerCapture(event.pointerId);
  last = null;
  stroke(event);
});
mask.addEventListener('pointermove', (event) => {
  if (mask.hasPointerCapture(event.pointerId)) stroke(event);
});
mask.addEventListener('pointerup', store);
find('brush').addEventListener('click', () => erase(false));
find('eraser').addEventListener('click', () => erase(true));
find('clear').addEventListener('click', () => {
  canvas().clearRect(0, 0, mask.width, mask.height);
  store();
});
find('invert').addEventListener('click', () => {
  const context = canvas();
  const pixels = context.getImageData(0, 0, mask.width, mask.height);
  for (let i = 0; i < pixels.data.length; i += 4) {
    const painted = pixels.data[i + 3] > 0;
    pixels.data.set(painted ? [0, 0, 0, 0] : [255, 90, 31, 255], i);
  }
  context.putImageData(pixels, 0, 0);
  store();
});
show();
