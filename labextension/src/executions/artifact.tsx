/** One stored value: its names and size, and on request what it looks like. Read part by part. */
import * as React from 'react';
import type { JSONObject, JSONValue } from '@lumino/coreutils';
import type { TranslationBundle } from '@jupyterlab/translation';
import { IApi, IArtifact, IDescription, IPicture, IRows, IStatistics, IValues, asApiError } from '../api';
import { joined, size, visible } from '../format';
import { Problem } from '../problem';
import { Grid, IGrid, Show } from '../waits/show';
import { bars, line, number } from './plot';

const ROWS = 10;
const POINTS = 512;

export interface IArtifactProps {
  api: IApi;
  artifact: IArtifact;
  trans: TranslationBundle;
}

export function Artifact({ api, artifact, trans }: IArtifactProps): JSX.Element {
  const [open, setOpen] = React.useState(false);
  return (
    <div className="jp-kitaru-Artifact">
      <button
        type="button"
        className="jp-kitaru-Artifact-head"
        aria-expanded={open}
        disabled={artifact.removed !== undefined}
        onClick={() => setOpen(!open)}
      >
        <span className="jp-kitaru-Artifact-name">{visible(artifact.names.join(', '))}</span>
        <span className="jp-kitaru-dim">
          {artifact.removed ? trans.__('removed to save space') : size(artifact.bytes)}
        </span>
      </button>
      {open && artifact.names.map(name => <Preview key={name} api={api} reference={refOf(artifact, name)} trans={trans} />)}
    </div>
  );
}

/** Each name of an artifact has a reference that differs in its last part. Pure. */
export function refOf(artifact: IArtifact, name: string): string {
  return artifact.ref.includes('/') ? `${artifact.ref.slice(0, artifact.ref.lastIndexOf('/'))}/${name}` : artifact.ref;
}

/** What `ask` gives, its failure, or neither yet. */
export function useAsked<T>(ask: () => Promise<T>, key: string): { value?: T; error?: unknown; retry: () => void } {
  const [found, setFound] = React.useState<{ value?: T; error?: unknown }>({});
  const [turn, setTurn] = React.useState(0);
  React.useEffect(() => {
    let gone = false;
    setFound({});
    ask().then(
      value => !gone && setFound({ value }),
      error => !gone && setFound({ error })
    );
    return () => {
      gone = true;
    };
  }, [key, turn]);
  return { ...found, retry: () => setTurn(turn + 1) };
}

function Preview({ api, reference, trans }: { api: IApi; reference: string; trans: TranslationBundle }): JSX.Element {
  const { value, error, retry } = useAsked(() => api.artifact(reference), reference);
  if (error) {
    return <Problem trans={trans} error={asApiError(error)} onRetry={retry} />;
  }
  if (!value) {
    return <div className="jp-kitaru-dim">{trans.__('Reading…')}</div>;
  }
  const name = reference.split('/').pop() ?? reference;
  return (
    <figure className="jp-kitaru-Preview" aria-label={name}>
      <figcaption className="jp-kitaru-dim">{visible(joined(name, wordsOf(value)))}</figcaption>
      <Body api={api} value={value} trans={trans} />
      {value.left_out?.map(why => (
        <div key={why} className="jp-kitaru-dim">
          {visible(why)}
        </div>
      ))}
    </figure>
  );
}

function wordsOf(value: IDescription): string {
  return joined(value.type, value.dtype, value.shape?.map(n => n ?? '?').join(' × '));
}

interface IBodyProps {
  api: IApi;
  value: IDescription;
  trans: TranslationBundle;
}

function Body({ api, value, trans }: IBodyProps): JSX.Element | null {
  switch (value.kind) {
    case 'text':
    case 'json':
      return <Show value={value.preview as JSONValue} />;
    case 'image':
      return <Picture media={value.media!} data={value.data!} alt={visible(value.names.join(', '))} trans={trans} />;
    case 'table':
      return <Rows api={api} value={value} trans={trans} />;
    case 'array':
      return <ArrayView api={api} reference={value.ref} shape={value.shape ?? []} dtype={value.dtype ?? ''} trans={trans} />;
    case 'group':
      return (
        <>
          {Object.entries(value.members ?? {}).map(([path, member]) => (
            <details key={path}>
              <summary>{visible(joined(path, member.dtype, member.shape?.join(' × ')))}</summary>
              {member.kind === 'array' && (
                <ArrayView
                  api={api}
                  reference={value.ref}
                  path={path}
                  shape={member.shape ?? []}
                  dtype={member.dtype ?? ''}
                  trans={trans}
                />
              )}
            </details>
          ))}
        </>
      );
    default:
      return value.marker ? null : (
        <div className="jp-kitaru-dim">
          {trans.__('It is kept as a pickle, which is never opened here. In a notebook:')}{' '}
          <code className="jp-kitaru-command">{`kt.load("${value.ref}")`}</code>
        </div>
      );
  }
}

interface IArrayProps {
  api: IApi;
  reference: string;
  path?: string;
  shape: readonly (number | null)[];
  dtype: string;
  trans: TranslationBundle;
}

/** What an array is best shown as. Pure. */
export function viewsOf(shape: readonly (number | null)[], dtype: string): ('png' | 'line' | 'statistics' | 'values')[] {
  const numeric = /^(u?int|float|bool)/.test(dtype);
  const several = shape.reduce<number>((product, length) => product * (length ?? 0), 1) > 1;
  if (!numeric || !several) {
    return ['values'];
  }
  const colours = shape.length === 3 && (shape[2] === 3 || shape[2] === 4) && dtype === 'uint8';
  if (shape.length === 2 || colours) {
    return colours ? ['png'] : ['png', 'statistics'];
  }
  return shape.length === 1 ? ['line', 'statistics'] : ['statistics'];
}

function ArrayView(props: IArrayProps): JSX.Element {
  const views = viewsOf(props.shape, props.dtype);
  return (
    <>
      {views.map(view => (
        <ArrayPart key={view} {...props} view={view} />
      ))}
    </>
  );
}

function ArrayPart(props: IArrayProps & { view: 'png' | 'line' | 'statistics' | 'values' }): JSX.Element {
  const { api, reference, path, view, trans } = props;
  const slice = { ...(path ? { path } : {}) };
  const { value, error, retry } = useAsked<IPicture | IStatistics | IValues>(
    () =>
      view === 'line' || view === 'values'
        ? api.slice<IValues>(reference, { ...slice, as: 'values', stop: props.shape.map(n => Math.min(n ?? 0, view === 'line' ? POINTS : ROWS)).join(',') })
        : api.slice<IPicture | IStatistics>(reference, { ...slice, as: view }),
    `${reference}:${path ?? ''}:${view}`
  );
  if (error) {
    return <Problem trans={trans} error={asApiError(error)} onRetry={retry} />;
  }
  if (!value) {
    return <div className="jp-kitaru-dim">{trans.__('Reading…')}</div>;
  }
  switch (view) {
    case 'png': {
      const picture = value as IPicture;
      return (
        <>
          <Picture media={picture.media} data={picture.data} alt={trans.__('The values as shades, dark to light')} trans={trans} />
          {picture.low !== null && (
            <div className="jp-kitaru-dim">{`${number(picture.low)} … ${number(picture.high)}`}</div>
          )}
        </>
      );
    }
    case 'line':
      return <Line values={numbersOf(value as IValues)} whole={(value as IValues).whole} trans={trans} />;
    case 'statistics':
      return <Statistics value={value as IStatistics} trans={trans} />;
    default:
      return <Show value={(value as IValues).values} />;
  }
}

interface IPictureProps {
  media: string;
  data: string;
  alt: string;
  trans: TranslationBundle;
}

function Picture({ media, data, alt, trans }: IPictureProps): JSX.Element {
  const [isBroken, setIsBroken] = React.useState(false);
  if (isBroken) {
    return <div className="jp-kitaru-dim">{trans.__('It begins like a picture, and is none that can be drawn.')}</div>;
  }
  // The server names the media type; only pictures that cannot hold a script are drawn.
  const safe = /^image\/(png|jpeg|gif)$/.test(media) ? media : 'image/png';
  return <img className="jp-kitaru-Picture" src={`data:${safe};base64,${data}`} alt={alt} onError={() => setIsBroken(true)} />;
}

function Line({ values, whole, trans }: { values: number[]; whole: boolean; trans: TranslationBundle }): JSX.Element {
  return (
    <>
      <svg className="jp-kitaru-Plot" viewBox="0 0 240 60" preserveAspectRatio="none" role="img" aria-label={trans.__('The values in order')}>
        <path d={line(values, 240, 60)} />
      </svg>
      {!whole && <div className="jp-kitaru-dim">{trans.__('the first %1 values', values.length)}</div>}
    </>
  );
}

function Statistics({ value, trans }: { value: IStatistics; trans: TranslationBundle }): JSX.Element {
  const figures: JSONObject = {
    [trans.__('smallest')]: number(value.min),
    [trans.__('largest')]: number(value.max),
    [trans.__('mean')]: number(value.mean),
    [trans.__('spread')]: number(value.std)
  };
  if (value.nan) {
    figures[trans.__('not a number')] = value.nan;
  }
  if (value.infinite) {
    figures[trans.__('infinite')] = value.infinite;
  }
  return (
    <>
      <svg className="jp-kitaru-Plot jp-mod-bars" viewBox="0 0 240 40" preserveAspectRatio="none" role="img" aria-label={trans.__('How the values are spread')}>
        {bars(value.histogram.counts, 240, 40).map((bar, index) => (
          <rect key={index} {...bar} />
        ))}
      </svg>
      <Show value={figures} />
      {value.sampled && <div className="jp-kitaru-dim">{trans.__('from a part of it that is spread evenly')}</div>}
    </>
  );
}

function Rows({ api, value, trans }: IBodyProps): JSX.Element {
  const [start, setStart] = React.useState(0);
  const { value: rows, error, retry } = useAsked<IRows>(
    () => api.slice<IRows>(value.ref, { as: 'rows', start: String(start), stop: String(start + ROWS) }),
    `${value.ref}:${start}`
  );
  if (error) {
    return <Problem trans={trans} error={asApiError(error)} onRetry={retry} />;
  }
  const count = value.rows ?? 0;
  return (
    <>
      {rows ? (count > 0 || !!value.columns?.length) && <Grid {...tableOf(rows, value)} /> : <div className="jp-kitaru-dim">{trans.__('Reading…')}</div>}
      <div className="jp-kitaru-buttons">
        <button type="button" className="jp-kitaru-link" disabled={start === 0} onClick={() => setStart(start - ROWS)}>
          {trans.__('Earlier rows')}
        </button>
        <span className="jp-kitaru-dim">
          {count ? trans.__('%1 to %2 of %3', start + 1, Math.min(count, start + ROWS), count) : trans.__('no rows')}
        </span>
        <button type="button" className="jp-kitaru-link" disabled={start + ROWS >= count} onClick={() => setStart(start + ROWS)}>
          {trans.__('Later rows')}
        </button>
      </div>
    </>
  );
}

/** The values of a line: what comes as text, since JavaScript has no number for it, about where it lies. Pure. */
export function numbersOf({ values }: IValues): number[] {
  return (values as JSONValue[]).map(each => (typeof each === 'string' || typeof each === 'boolean' ? Number(each) : (each as number)));
}

/** Rows in the order that the columns have on record, the index first: names of properties are sorted, and unique. Pure. */
export function tableOf(rows: IRows, value: Pick<IDescription, 'columns'>): IGrid {
  const listed = (value.columns ?? []).filter(column => column.path in rows.columns);
  const index = rows.index !== null && rows.index in rows.columns ? [{ path: rows.index, name: '' }] : [];
  const columns = [...index, ...listed.filter(column => column.path !== rows.index)];
  const count = rows.stop - rows.start;
  return {
    columns: columns.map(column => column.name),
    rows: Array.from({ length: count }, (_, row) => columns.map(({ path }) => rows.columns[path][row] ?? null))
  };
}
