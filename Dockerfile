# One image for every process of production; compose.yaml says which it is.
FROM python:3.13-slim-bookworm

ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /srv/tieout

COPY requirements.txt ./
RUN pip install --require-hashes -r requirements.txt

COPY manage.py ./
COPY portal portal
COPY reconciliation reconciliation
COPY integrations integrations
COPY templates templates
COPY static static

# Static files get hashed names; this needs neither a database nor the real key.
RUN SECRET_KEY=unused-while-building python manage.py collectstatic --noinput \
    && useradd --system --uid 10001 --no-create-home tieout \
    && install -d -o tieout -g tieout /var/lib/tieout

ENV TIEOUT_VAR=/var/lib/tieout
USER tieout
EXPOSE 8000

HEALTHCHECK --interval=15s --timeout=5s --start-period=30s \
    CMD ["python", "-m", "portal.probe"]

CMD ["granian", "portal.wsgi:application", "--interface", "wsgi", "--host", "0.0.0.0", "--port", "8000", \
     "--workers", "2", "--blocking-threads", "8", "--backlog", "2048", "--no-ws", "--respawn-failed-workers"]
