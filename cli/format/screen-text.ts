/** Text for a terminal's line: what moves its cursor or is no text is taken out, and it is cut where the line ends. Pure. */

/** Control sequences: CSI, OSC, and what is left of them. Source: ECMA-48, 5.4; xterm, "Control Sequences". */
const SEQUENCES = new RegExp(
  ['\\u001b\\][^\\u0007\\u001b]*(?:\\u0007|\\u001b\\\\)?', '\\u001b\\[[0-?]*[ -/]*[@-~]?', '\\u001b[ -/]*[0-~]?'].join(
    '|',
  ),
  'g',
);
const TAB = '  ';

/** One line of a command's output as it would look: what a carriage return has written over is gone. */
export function plainLine(text: string): string {
  const shown = text.replace(/\r+$/, '');
  return shown
    .slice(shown.lastIndexOf('\r') + 1)
    .replaceAll(SEQUENCES, '')
    .replaceAll('\t', TAB)
    .replaceAll(/\p{C}/gu, '');
}

/** Columns that it takes. */
export function widthOf(text: string): number {
  let width = 0;
  for (const char of text) width += widthOfChar(char);
  return width;
}

/** At most so many columns of it; what is cut ends with an ellipsis. */
export function cut(text: string, columns: number): string {
  if (widthOf(text) <= columns) return text;
  let width = 0;
  let end = 0;
  for (const char of text) {
    const next = width + widthOfChar(char);
    if (next > columns - 1) break;
    width = next;
    end += char.length;
  }
  return columns < 1 ? '' : `${text.slice(0, end)}…`;
}

/** Both ends of a line, the right one at its end. */
export function spread(left: string, right: string, columns: number): string {
  const room = columns - widthOf(right) - 1;
  if (room < 1) return cut(left, columns);
  const shown = cut(left, room);
  return `${shown}${' '.repeat(room - widthOf(shown) + 1)}${right}`;
}

/** Blocks of which terminals give each character two columns. Source: Unicode, EastAsianWidth.txt: W and F. */
const WIDE: readonly (readonly [first: number, last: number])[] = [
  [0x1100, 0x115f],
  [0x231a, 0x231b],
  [0x23e9, 0x23ec],
  [0x2614, 0x2615],
  [0x26a1, 0x26a1],
  [0x2705, 0x2705],
  [0x2728, 0x2728],
  [0x274c, 0x274c],
  [0x2753, 0x2757],
  [0x2b50, 0x2b50],
  [0x2e80, 0x303e],
  [0x3041, 0xa4cf],
  [0xa960, 0xa97c],
  [0xac00, 0xd7a3],
  [0xf900, 0xfaff],
  [0xfe30, 0xfe6f],
  [0xff00, 0xff60],
  [0xffe0, 0xffe6],
  [0x1f300, 0x1f64f],
  [0x1f680, 0x1f6ff],
  [0x1f7e0, 0x1f7eb],
  [0x1f900, 0x1f9ff],
  [0x1fa70, 0x1faff],
  [0x20000, 0x3fffd],
];

function widthOfChar(char: string): number {
  const code = char.codePointAt(0) ?? 0;
  if (code < WIDE_MIN) return /\p{M}/u.test(char) ? 0 : 1;
  if (/\p{M}/u.test(char)) return 0;
  return WIDE.some(([first, last]) => first <= code && code <= last) ? 2 : 1;
}

const WIDE_MIN = 0x1100;
