/** Paths of the records, which are the machine's, as those that the file browser has. */
import type { IApi, IExecution } from './api';

/** The path of an execution's notebook below the folder that the server serves; null where it is not below it. */
export async function servedPath(api: IApi, execution: IExecution, root: string): Promise<string | null> {
  const paths = servedPaths(execution.notebook, root);
  if (!root.startsWith('~')) {
    return paths[0] ?? null;
  }
  // One that the server finds no such notebook for is not it.
  const isIt = (notebook: string) =>
    api.executions({ notebook, q: execution.id, limit: 1 }).then(
      page => page.executions.some(each => each.id === execution.id),
      () => false
    );
  const found = await Promise.all(paths.map(isIt));
  return paths.find((_, index) => found[index]) ?? null;
}

/**
 * What `path` may be called below the folder that the server serves, the likeliest first. Pure.
 *
 * Where the page does not know where the home folder is, there are several: only the server can
 * tell which of them it is.
 *
 * Args:
 *   root: That folder as the page knows it, which may begin with `~`.
 */
export function servedPaths(path: string | null, root: string): string[] {
  if (path === null || !root) {
    return [];
  }
  const folder = root.replace(/\/+$/, '');
  if (folder !== '~' && !folder.startsWith('~/')) {
    return path.startsWith(`${folder}/`) ? [path.slice(folder.length + 1)] : [];
  }
  const rest = folder.slice(1);
  const ends = [...path.matchAll(/\//g)].map(found => found.index).filter(index => index > 0);
  // A home folder has two parts mostly, as in /home/ana; the administrator's has one.
  const homes = ends.map(end => path.slice(0, end)).sort((a, b) => unlikely(a) - unlikely(b));
  return homes.filter(home => path.startsWith(`${home}${rest}/`)).map(home => path.slice(`${home}${rest}/`.length));
}

function unlikely(home: string): number {
  return Math.abs(home.split('/').length - 3);
}
