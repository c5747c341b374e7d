/** Paths of the records, which are the machine's, as those that the file browser has. Pure. */

/**
 * `path` below the folder that the server serves; null where it is not below it.
 *
 * Args:
 *   root: That folder as the page knows it, which may begin with `~`.
 */
export function servedPath(path: string | null, root: string): string | null {
  if (path === null || !root) {
    return null;
  }
  const folder = root.replace(/\/+$/, '');
  if (!folder.startsWith('~')) {
    return path.startsWith(`${folder}/`) ? path.slice(folder.length + 1) : null;
  }
  // The home folder is not told: it is what stands before the rest, and has two or three parts.
  const found = new RegExp(`^(?:/[^/]+){1,3}${escaped(folder.slice(1))}/(.+)$`).exec(path);
  return found ? found[1] : null;
}

function escaped(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}
