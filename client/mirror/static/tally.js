// A frame's number in the picture itself: a strip of black and white cells below it. The same as
// mirror/tally.py, which says why.

export const ROWS = 16, NUMBERS = 1 << 16;
const CELLS = 24, CHECK_BITS = 8;

const check = (number) => ((number * 0x9e37) >> 8 ^ 0x5a) & 0xff;

/** Draws the strip of `number` over the canvas's last ROWS rows. */
export function draw(context, number) {
  const { width, height } = context.canvas;
  const word = number * (1 << CHECK_BITS) + check(number);
  for (let cell = 0; cell < CELLS; cell++) {
    const [left, right] = [Math.round((cell * width) / CELLS), Math.round(((cell + 1) * width) / CELLS)];
    context.fillStyle = word & (1 << (CELLS - 1 - cell)) ? "#fff" : "#000";
    context.fillRect(left, height - ROWS, right - left, ROWS);
  }
}

const small = new OffscreenCanvas(CELLS * 4, ROWS);
const reader = small.getContext("2d", { willReadFrequently: true });

/** The number on a video's picture, or null where none can be read. */
export function read(video, width, height) {
  reader.drawImage(video, 0, height - ROWS, width, ROWS, 0, 0, small.width, ROWS);
  const { data } = reader.getImageData(0, ROWS / 4, small.width, ROWS / 2);
  let word = 0;
  for (let cell = 0; cell < CELLS; cell++) {
    let sum = 0, count = 0;
    for (let row = 0; row < ROWS / 2; row++) {
      for (const column of [cell * 4 + 1, cell * 4 + 2]) {
        sum += data[4 * (row * small.width + column) + 1];
        count++;
      }
    }
    word = word * 2 + (sum / count > 127 ? 1 : 0);
  }
  const number = word >> CHECK_BITS;
  return (word & 0xff) === check(number) ? number : null;
}
