/** Computes where the tiles go. This is arithmetic without any element; lengths are CSS pixels. */

/**
 * @typedef {{ x: number, y: number, width: number, height: number }} Area
 * @typedef {{ faces: Area[], screens: Area[] }} Layout
 */

/** The greatest ratio of a tile's width to its height. */
const WIDEST = 16 / 9;
/** The least ratio for a face. */
const NARROWEST = 4 / 3;
/** The least ratio for a screen. Most displays are close to it; the rest of the tile is black. */
const NARROWEST_SCREEN = 16 / 10;
/** The least ratio for a face in an area that is taller than wide, since phones film upright. */
const NARROWEST_UPRIGHT = 3 / 4;

/** The shares of the area to which screens may be limited; the best one is used. */
const SHARES = [0.6, 0.65, 0.7, 0.75, 0.8];

/**
 * Fills an area with faces, and with screens if there are any. Screens get the larger part. The
 * faces stand beside or below them, whichever leaves less of the area empty.
 *
 * @param {number} width
 * @param {number} height
 * @param {number} faces The number of faces, at least one.
 * @param {number} screens The number of screens.
 * @param {number} gap
 * @returns {Layout} Areas within the given one, at whole pixels.
 */
export function arrange(width, height, faces, screens, gap) {
  const narrowest = height > width ? NARROWEST_UPRIGHT : NARROWEST;
  const whole = { x: 0, y: 0, width, height };
  if (!screens) return { faces: place(whole, faces, gap, narrowest), screens: [] };
  const layouts = SHARES.flatMap((share) =>
    [beside, below].map((split) => {
      const [forScreens, forFaces] = split(width, height, share, screens, gap);
      return {
        screens: place(forScreens, screens, gap, NARROWEST_SCREEN),
        faces: place(forFaces, faces, gap, narrowest),
      };
    }),
  );
  return layouts.reduce((best, each) => (covered(each) > covered(best) ? each : best));
}

/**
 * Returns the largest equal tiles that are neither too wide nor too narrow. They stand in rows,
 * each of which is centred.
 *
 * @param {Area} area
 * @param {number} count
 * @param {number} gap
 * @param {number} narrowest The least ratio of width to height.
 */
function place({ x, y, width, height }, count, gap, narrowest) {
  let best = { width: 0, height: 0, columns: 1 };
  for (let columns = 1; columns <= count; columns++) {
    const rows = Math.ceil(count / columns);
    const size = shape(
      (width - gap * (columns - 1)) / columns,
      (height - gap * (rows - 1)) / rows,
      narrowest,
    );
    if (size.width * size.height > best.width * best.height) best = { ...size, columns };
  }
  const tile = { width: Math.floor(best.width), height: Math.floor(best.height) };
  const rows = Math.ceil(count / best.columns);
  const top = y + (height - extent(rows, tile.height, gap)) / 2;
  return Array.from({ length: count }, (_, index) => {
    const row = Math.floor(index / best.columns);
    const inRow = Math.min(best.columns, count - row * best.columns);
    const left = x + (width - extent(inRow, tile.width, gap)) / 2;
    return {
      x: Math.round(left + (index % best.columns) * (tile.width + gap)),
      y: Math.round(top + row * (tile.height + gap)),
      ...tile,
    };
  });
}

/**
 * Returns the largest size within a cell that is neither too wide nor too narrow.
 *
 * @param {number} width
 * @param {number} height
 * @param {number} narrowest
 */
function shape(width, height, narrowest) {
  if (width <= 0 || height <= 0) return { width: 0, height: 0 };
  return {
    width: Math.min(width, height * WIDEST),
    height: Math.min(height, width / narrowest),
  };
}

/**
 * Splits an area into one for the screens and one for the faces. The faces also get the room that
 * the screens cannot use.
 *
 * @typedef {(width: number, height: number, share: number, screens: number, gap: number) => Area[]}
 *   Split
 */

/** @type {Split} */
function beside(width, height, share, screens, gap) {
  const most = { x: 0, y: 0, width: (width - gap) * share, height };
  const used = place(most, screens, gap, NARROWEST_SCREEN);
  const first = Math.max(...used.map((area) => area.x + area.width)) - used[0].x;
  return [
    { ...most, width: first },
    { x: first + gap, y: 0, width: width - gap - first, height },
  ];
}

/** @type {Split} */
function below(width, height, share, screens, gap) {
  const most = { x: 0, y: 0, width, height: (height - gap) * share };
  const used = place(most, screens, gap, NARROWEST_SCREEN);
  const first = Math.max(...used.map((area) => area.y + area.height)) - used[0].y;
  return [
    { ...most, height: first },
    { x: 0, y: first + gap, width, height: height - gap - first },
  ];
}

/**
 * @param {number} count
 * @param {number} length The length of each.
 * @param {number} gap
 */
function extent(count, length, gap) {
  return count * length + (count - 1) * gap;
}

/** @param {Layout} layout */
function covered({ faces, screens }) {
  return [...faces, ...screens].reduce((sum, { width, height }) => sum + width * height, 0);
}
