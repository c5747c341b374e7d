/** Two small plots as SVG geometry. Pure. */

/** A path through `values`, from left to right, the largest on top; gaps where there is no number. */
export function line(values: readonly unknown[], width: number, height: number): string {
  const numbers = values.filter(isNumber);
  const low = Math.min(...numbers);
  const span = Math.max(...numbers) - low || 1;
  const step = width / Math.max(1, values.length - 1);
  let pen = 'M';
  let path = '';
  values.forEach((value, index) => {
    if (!isNumber(value)) {
      pen = 'M';
      return;
    }
    const y = height - 2 - ((value - low) / span) * (height - 4);
    path += `${pen}${round(index * step)} ${round(y)}`;
    pen = 'L';
  });
  return path;
}

export interface IBar {
  x: number;
  y: number;
  width: number;
  height: number;
}

/** A bar for each count, the largest as high as there is room. */
export function bars(counts: readonly number[], width: number, height: number): IBar[] {
  const most = Math.max(1, ...counts);
  const each = width / Math.max(1, counts.length);
  return counts.map((count, index) => {
    const tall = (count / most) * height;
    return { x: round(index * each + 0.5), y: round(height - tall), width: round(each - 1), height: round(tall) };
  });
}

/** A number with as many digits behind the point as one wants to read; those before it are all right. */
export function number(value: number | string | null): string {
  if (value === null || typeof value === 'string') {
    return value ?? '–';
  }
  if (Number.isSafeInteger(value)) {
    return String(value);
  }
  return Math.abs(value) < 1e15 ? String(Number(value.toPrecision(Math.max(5, digitsOf(value) + 1)))) : value.toExponential(4);
}

function digitsOf(value: number): number {
  return String(Math.trunc(Math.abs(value))).length;
}

function isNumber(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value);
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}
