/** A form for an answer's JSON schema: JupyterLab's own, with labels that belong to their fields. */
import * as React from 'react';
import type { FieldTemplateProps, ObjectFieldTemplateProps, RJSFSchema, ValidatorType } from '@rjsf/utils';
import type { JSONValue } from '@lumino/coreutils';
import type { TranslationBundle } from '@jupyterlab/translation';
import { FormComponent } from '@jupyterlab/ui-components';
import { drawable, errorsAt, fits, given, uiOf } from './schema';

/** The server judges answers: the form only has to choose among alternatives. */
const CHOOSER: ValidatorType = {
  isValid: (schema, value, root) => fits(schema as JSONValue, value as JSONValue, root as JSONValue),
  validateFormData: () => ({ errors: [], errorSchema: {} }),
  toErrorList: () => [],
  rawValidation: () => ({ errors: [] })
};

// Its own type is bound to objects; an answer may be any JSON.
const AnyForm = FormComponent as React.FunctionComponent<any>;

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
  const schema = React.useMemo(() => drawable(props.schema), [props.schema]);
  const ui = React.useMemo(() => uiOf(schema as JSONValue), [schema]);
  const [value, setValue] = React.useState<JSONValue | undefined>(undefined);
  const templates = React.useMemo(() => ({ FieldTemplate: fieldIn(trans), ObjectFieldTemplate: Group }), [trans]);
  React.useEffect(() => {
    const [wrong] = Object.keys(props.errors);
    if (wrong !== undefined) {
      document.getElementById([prefix, ...wrong.split('/').slice(1)].join('_'))?.focus();
    }
  }, [props.errors]);
  return (
    <AnyForm
      className="jp-kitaru-Form"
      schema={schema}
      uiSchema={ui}
      validator={CHOOSER}
      templates={templates}
      idPrefix={prefix}
      formData={value}
      extraErrors={errorsAt(props.errors)}
      disabled={props.busy}
      noValidate
      noHtml5Validate
      showErrorList={false}
      showModifiedFromDefault={false}
      compact
      onChange={(event: IChangeEvent) => setValue(event.formData)}
      onSubmit={(event: IChangeEvent) => props.onSubmit(given(props.schema, event.formData))}
    >
      <div className="jp-kitaru-buttons">{props.children}</div>
    </AnyForm>
  );
}

function fieldIn(trans: TranslationBundle): React.FunctionComponent<FieldTemplateProps> {
  return function Field(props: FieldTemplateProps): JSX.Element {
    const { id, schema, label, rawErrors, required, hidden } = props;
    if (hidden) {
      return <div hidden>{props.children}</div>;
    }
    const isGroup = schema.type === 'object';
    const isBox = schema.type === 'boolean'; // it comes with a label of its own
    const isRoot = !id.includes('_');
    const called = isRoot ? schema.title ?? trans.__('Answer') : label;
    const wrong = rawErrors?.length ? rawErrors : null;
    return (
      <div className={`jp-kitaru-Field${wrong ? ' jp-mod-wrong' : ''}`}>
        {!isGroup && !isBox && (
          <label className="jp-kitaru-Field-label" htmlFor={id}>
            {called}
            {!required && !isRoot && schema.default === undefined && <span className="jp-kitaru-dim"> {trans.__('(optional)')}</span>}
          </label>
        )}
        {isGroup && !isRoot && <div className="jp-kitaru-Field-label">{label}</div>}
        {props.children}
        {schema.description && !(isGroup && isRoot) && !isBox && (
          <div className="jp-kitaru-dim" id={`${id}__description`}>
            {schema.description}
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

function Group(props: ObjectFieldTemplateProps<any, RJSFSchema>): JSX.Element {
  return (
    <div id={props.idSchema.$id} className="jp-kitaru-Group" role="group" aria-label={props.title || undefined}>
      {props.properties.map(property => (
        <React.Fragment key={property.name}>{property.content}</React.Fragment>
      ))}
    </div>
  );
}
