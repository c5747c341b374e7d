/** A form for an answer's JSON schema: JupyterLab's own, with labels that belong to their fields. */
import * as React from 'react';
import type { ArrayFieldTemplateProps, FieldProps, FieldTemplateProps, ObjectFieldTemplateProps, RJSFSchema, ValidatorType } from '@rjsf/utils';
import type { JSONValue } from '@lumino/coreutils';
import type { TranslationBundle } from '@jupyterlab/translation';
import { Button, FormComponent } from '@jupyterlab/ui-components';
import { visible } from '../format';
import { parsed, typedNumber, written } from '../json';
import { drawable, errorsAt, fits, given, isOpen, isUntouched, same, typedOf, uiOf, valueAt } from './schema';

/** The server judges answers: the form only has to choose among alternatives. */
const CHOOSER: ValidatorType = {
  isValid: (schema, value, root) => fits(schema as JSONValue, value as JSONValue, root as JSONValue),
  validateFormData: () => ({ errors: [], errorSchema: {} }),
  toErrorList: () => [],
  rawValidation: () => ({ errors: [] })
};

// Its own type is bound to objects; an answer may be any JSON.
const AnyForm = FormComponent as React.FunctionComponent<any>;

/** In the schema of a property whose name is typed, as the form marks it. */
const NAMED_HERE = '__additional_property';

const BROKEN = 'jp-kitaru-Json-broken';

interface IChangeEvent {
  formData?: JSONValue;
}

export interface IFieldsProps {
  /** Of the answer. */
  schema: Readonly<Record<string, JSONValue>>;
  /** What the server says is wrong, by JSON pointer. */
  errors: Readonly<Record<string, string>>;
  busy: boolean;
  trans: TranslationBundle;
  onSubmit: (value: JSONValue) => void;
  /** The buttons below. */
  children: React.ReactNode;
}

export function Fields(props: IFieldsProps): JSX.Element {
  const { trans } = props;
  const prefix = `kitaru${React.useId().replace(/:/g, '')}`;
  const schema = React.useMemo(() => drawable(props.schema, trans), [props.schema, trans]);
  const ui = React.useMemo(() => uiOf(schema as JSONValue, trans), [schema, trans]);
  const fields = React.useMemo(() => ({ NumberField, JsonField: jsonWith(trans) }), [trans]);
  const [value, setValue] = React.useState<JSONValue | undefined>(undefined);
  const [sent, setSent] = React.useState<JSONValue | undefined>(undefined);
  const [isMissing, setIsMissing] = React.useState(false);
  const said = isMissing ? { '': trans.__('is required') } : props.errors;
  // What was wrong with a field is not said of what stands there now.
  const errors = Object.fromEntries(
    Object.entries(said).filter(([pointer]) => same(valueAt(value, pointer), valueAt(sent, pointer)))
  );
  const templates = React.useMemo(() => (
    { FieldTemplate: fieldWith(trans), ObjectFieldTemplate: groupWith(trans), ArrayFieldTemplate: listWith(trans) }
  ), [trans]);
  React.useEffect(() => {
    const ids = Object.keys(said).map(wrong => [prefix, ...wrong.split('/').slice(1)].join('_'));
    const found = ids.flatMap(id => document.getElementById(id) ?? []);
    found.sort((one, other) => (one.compareDocumentPosition(other) & Node.DOCUMENT_POSITION_FOLLOWING ? -1 : 1));
    found[0]?.focus();
  }, [props.errors, isMissing]);
  const submit = (filled: JSONValue | undefined, form: HTMLElement) => {
    const root = props.schema as JSONValue;
    const typed = typedOf(schema as JSONValue, filled, fits(root, null, root));
    const broken = form.querySelector<HTMLElement>(`.${BROKEN}`);
    setSent(filled);
    setIsMissing(!broken && isUntouched(props.schema, typed));
    if (broken) {
      broken.focus(); // what is wrong with it stands below it
    } else if (!isUntouched(props.schema, typed)) {
      props.onSubmit(given(props.schema, typed));
    }
  };
  return (
    <AnyForm
      className="jp-kitaru-Form"
      schema={schema}
      uiSchema={ui}
      validator={CHOOSER}
      templates={templates}
      fields={fields}
      idPrefix={prefix}
      formData={value}
      extraErrors={errorsAt(errors)}
      disabled={props.busy}
      noValidate
      noHtml5Validate
      showErrorList={false}
      showModifiedFromDefault={false}
      compact
      onChange={(event: IChangeEvent) => {
        setValue(event.formData);
        setIsMissing(false);
      }}
      onSubmit={(event: IChangeEvent, { target }: React.FormEvent) => submit(event.formData, target as HTMLElement)}
    >
      <div className="jp-kitaru-buttons">{props.children}</div>
    </AnyForm>
  );
}

function fieldWith(trans: TranslationBundle): React.FunctionComponent<FieldTemplateProps> {
  return function Field(props: FieldTemplateProps): JSX.Element {
    const { id, schema, label, rawErrors, required, hidden } = props;
    if (hidden) {
      return <div hidden>{props.children}</div>;
    }
    const isGroup = (schema.type === 'object' || schema.type === 'array') && !isOpen(schema as JSONValue);
    const isBox = schema.type === 'boolean'; // it comes with a label of its own
    const isRoot = !id.includes('_');
    const item = /_(\d+)$/.exec(id); // of a list, where each counts
    const place = item === null ? 0 : Number(item[1]) + 1;
    const isUntitled = place > 0 && (!label || label.endsWith(`-${place}`) || label.endsWith(`-${place - 1}`)); // the form's own words
    const called = isUntitled ? trans.__('Number %1', place) : visible(isRoot ? label || schema.title || trans.__('Answer') : label);
    const wrong = rawErrors?.length ? rawErrors : null;
    return (
      <div className={`jp-kitaru-Field${wrong ? ' jp-mod-wrong' : ''}`}>
        {!isGroup && !isBox && (
          <label className={`jp-kitaru-Field-label${NAMED_HERE in schema ? ' jp-mod-unseen' : ''}`} htmlFor={id}>
            {called}
            {!required && !isRoot && !place && !(NAMED_HERE in schema) && schema.default === undefined && (
              <span className="jp-kitaru-dim"> {trans.__('(optional)')}</span>
            )}
          </label>
        )}
        {isGroup && (!isRoot || schema.type === 'array') && <div className="jp-kitaru-Field-label jp-mod-group">{called}</div>}
        {NAMED_HERE in schema && (
          <div className="jp-kitaru-Named">
            <input
              aria-label={trans.__('Name of %1', called)}
              defaultValue={label}
              disabled={props.disabled}
              onBlur={event => props.onKeyChange(event.target.value)}
            />
            <Button type="button" className="jp-kitaru-link" disabled={props.disabled} onClick={props.onDropPropertyClick(label)}>
              {trans.__('Remove')}
            </Button>
          </div>
        )}
        {props.children}
        {schema.description && !(isGroup && isRoot) && !isBox && (
          <div className="jp-kitaru-dim" id={`${id}__description`}>
            {visible(schema.description)}
          </div>
        )}
        {wrong && (
          <div className="jp-kitaru-Field-error" id={`${id}__error`} role="alert">
            {wrong.join('; ')}
          </div>
        )}
      </div>
    );
  };
}

function groupWith(trans: TranslationBundle): React.FunctionComponent<ObjectFieldTemplateProps<any, RJSFSchema>> {
  return function Group(props): JSX.Element {
    return (
      <div id={props.idSchema.$id} className="jp-kitaru-Group" role="group" aria-label={visible(props.title ?? '') || undefined}>
        {props.properties.map(property => (
          <React.Fragment key={property.name}>{property.content}</React.Fragment>
        ))}
        {props.schema.additionalProperties && (
          <Button type="button" className="jp-kitaru-link jp-kitaru-start" disabled={props.disabled} onClick={props.onAddClick(props.schema)}>
            {trans.__('Add another name')}
          </Button>
        )}
      </div>
    );
  };
}

function listWith(trans: TranslationBundle): React.FunctionComponent<ArrayFieldTemplateProps<any, RJSFSchema>> {
  return function List(props): JSX.Element {
    return (
      <div id={props.idSchema.$id} className="jp-kitaru-Group" role="group" aria-label={visible(props.title ?? '') || undefined}>
        {props.items.map(item => (
          <div key={item.key} className="jp-kitaru-Item">
            {item.children}
            {item.hasRemove && (
              <Button
                type="button"
                className="jp-kitaru-link"
                aria-label={trans.__('Remove number %1', item.index + 1)}
                disabled={item.disabled}
                onClick={item.onDropIndexClick(item.index)}
              >
                {trans.__('Remove')}
              </Button>
            )}
          </div>
        ))}
        {props.canAdd && (
          <Button type="button" className="jp-kitaru-link jp-kitaru-start" disabled={props.disabled} onClick={props.onAddClick}>
            {trans.__('Add one')}
          </Button>
        )}
      </div>
    );
  };
}

/** What no other field can hold, typed as JSON. What is none is not sent, and not taken for a text. */
function jsonWith(trans: TranslationBundle): React.FunctionComponent<FieldProps> {
  return function JsonField(props: FieldProps): JSX.Element {
    const { idSchema, formData, disabled } = props;
    const [text, setText] = React.useState(formData === undefined ? '' : written(formData, 2));
    const isBroken = text.trim() !== '' && jsonOf(text) === undefined;
    const id = idSchema.$id;
    const change = (typed: string) => {
      setText(typed);
      props.onChange(jsonOf(typed) as any);
    };
    return (
      <>
        <textarea
          id={id}
          className={`jp-kitaru-Json${isBroken ? ` ${BROKEN}` : ''}`}
          rows={2}
          value={text}
          placeholder={trans.__('JSON')}
          spellCheck={false}
          disabled={disabled}
          aria-invalid={isBroken}
          aria-describedby={`${id}__json ${id}__error ${id}__description`}
          onChange={event => change(event.target.value)}
        />
        {isBroken && (
          <div className="jp-kitaru-Field-error" id={`${id}__json`}>
            {trans.__('This is no JSON yet, such as 12, "text" or ["a", "b"].')}
          </div>
        )}
      </>
    );
  };
}

function jsonOf(text: string): unknown {
  try {
    return parsed(text);
  } catch {
    return undefined;
  }
}

/** A number as it is typed: the form's own field would round it, and send null for one that is too large. */
function NumberField(props: FieldProps): JSX.Element {
  const { StringField } = props.registry.fields;
  const [typed, setTyped] = React.useState<string | null>(null);
  const { formData, schema } = props;
  const isSame = typed !== null && typedNumber(typed) === formData;
  const shown = isSame ? typed : typeof formData === 'bigint' && !Array.isArray(schema.enum) ? String(formData) : formData;
  const change: FieldProps['onChange'] = (value, errors, id) => {
    setTyped(typeof value === 'string' ? value : null);
    props.onChange(typeof value === 'string' ? typedNumber(value) : value, errors, id);
  };
  return <StringField {...props} formData={shown} onChange={change} />;
}
